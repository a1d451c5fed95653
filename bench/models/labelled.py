"""Logits and negative log-likelihoods of labelled tokens, without the logits of all others.

Logits are as wide as the vocabulary: on a small model a quarter of the time of a step. So only the
hidden states of labelled positions leave the backbone, and the model's own code does the rest:
its head, its adapters on the head, its softcapping or scaling.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers.utils.generic import ModelOutput

from bench.models.padding_free import arranged
from bench.system.recomputation import computed_again

LOGITS_AT_ONCE = 1 << 25
"""Entries of a logits tensor. Where labels need more, the logits are made piece by piece, and anew
in the backward pass."""


def negative_log_likelihoods(
    model: Any, inputs: dict[str, Tensor], labels: Tensor, learned: Tensor, temperature: float
) -> Tensor:
    """Of each token at which `learned` is true, in nats: float32, shape (labelled tokens,).

    `labels` and `learned` have the shape (rows, length). The token in a column is predicted by the
    column before it, so the first column of `learned` must be false. Soft prompts may put hidden
    states of their own in front.
    """
    # after which tokens a label follows, and which: none follows the last
    learned, labels = learned.roll(-1, 1), labels.roll(-1, 1)
    if (apart := arranged(model, inputs)) is None:
        return _after(model, inputs, labels, learned, temperature)
    with apart.charged:
        moved = apart.moved(labels), apart.moved(learned)
        return apart.as_before(_after(model, apart.inputs, *moved, temperature), learned)


def _after(
    model: Any, inputs: dict[str, Any], labels: Tensor, learned: Tensor, temperature: float
) -> Tensor:
    """The same of `labels` that follow the tokens at which `learned` is true."""
    targets = labels[learned]
    behind = _BehindBackbone(model, learned, len(targets))
    with behind.narrowed():
        logits = model(**inputs).logits
    if behind.output is None:  # the model has no backbone apart from its head
        return _nll(logits[:, -learned.shape[1] :][learned], targets, temperature)
    if not behind.pieces:
        return _nll(logits[0], targets, temperature)
    pieces = zip(behind.hidden.split(behind.pieces), targets.split(behind.pieces), strict=True)
    return torch.cat([behind.piece(hidden, some, temperature) for hidden, some in pieces])


def logits_at(model: Any, inputs: dict[str, Any], at: Tensor) -> Tensor:
    """Logits after each token at which `at`, of (rows, length), is true: (tokens, vocabulary)."""
    if (apart := arranged(model, inputs)) is None:
        return logits_after(model, inputs, at)[0]
    with apart.charged:
        return apart.as_before(logits_after(model, apart.inputs, apart.moved(at))[0], at)


def logits_after(model: Any, inputs: dict[str, Any], at: Tensor) -> tuple[Tensor, Any]:
    """Logits after each token at which `at`, of (rows, length), is true: (tokens, vocabulary), and
    all that the model gave.

    Soft prompts may put hidden states of their own in front.
    """
    behind = _BehindBackbone(model, at, 0)
    with behind.narrowed():
        output = model(**inputs)
    if behind.output is None:
        return output.logits[:, -at.shape[1] :][at], output
    return output.logits[0], output


def _nll(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    logits = logits.float()
    scaled = logits if temperature == 1 else logits / temperature
    return cross_entropy(scaled, targets, reduction="none")


class _BehindBackbone:
    """What a model does behind its backbone, for labelled positions alone.

    `learned` of (rows, length) says after which tokens a label follows.
    """

    def __init__(self, model: Any, learned: Tensor, count: int) -> None:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        backbone = getattr(base, "base_model", base)
        self._base, self._learned = base, learned
        self._backbone: nn.Module | None = None if backbone is base else backbone
        self.output: Any = None
        """What the backbone gave; None where it gave nothing that is known here."""
        self.hidden: Tensor
        """Hidden states of labelled positions, (labelled tokens, hidden size)."""
        self.pieces = 0
        """Labelled tokens in a piece; 0 where all are one piece."""
        if self._backbone is not None:
            most = max(1, LOGITS_AT_ONCE // base.config.get_text_config().vocab_size)
            self.pieces = most if count > most else 0

    @contextmanager
    def narrowed(self) -> Iterator[None]:
        """In here, the backbone hands on the hidden states of labelled positions alone, as one row;
        or none of them, where they are too many at once.
        """
        if self._backbone is None:
            yield
            return
        hook = self._backbone.register_forward_hook(self._narrow)
        try:
            yield
        finally:
            hook.remove()

    def _narrow(self, backbone: nn.Module, args: Any, output: Any) -> Any:
        hidden = getattr(output, "last_hidden_state", None)
        rows, length = self._learned.shape
        if not isinstance(output, ModelOutput) or hidden is None or hidden.shape[0] != rows:
            return output
        self.output = output
        self.hidden = hidden[:, -length:][self._learned]
        return _with_hidden(output, self.hidden[:0] if self.pieces else self.hidden)

    def piece(self, hidden: Tensor, targets: Tensor, temperature: float) -> Tensor:
        """The negative log-likelihoods of some labelled tokens from their hidden states, whose
        logits are not kept for the backward pass.
        """
        again = False

        def losses(hidden: Tensor) -> Tensor:
            nonlocal again
            with computed_again() if again else nullcontext():
                again = True
                logits = self._again(hidden, targets[None])
                return _nll(logits[0], targets, temperature)

        if not torch.is_grad_enabled():
            return losses(hidden)
        found = checkpoint(losses, hidden, use_reentrant=False)
        assert isinstance(found, Tensor)
        return found

    def _again(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """The logits that the model makes of hidden states, by its own forward."""
        prefix, modules = self._base.base_model_prefix, self._base._modules
        backbone = modules[prefix]
        modules[prefix] = _Recalled(backbone, _with_hidden(self.output, hidden))
        try:
            return self._base(input_ids=ids).logits
        finally:
            modules[prefix] = backbone


class _Recalled(nn.Module):
    """In place of a backbone, gives what the backbone gave before."""

    def __init__(self, backbone: nn.Module, output: Any) -> None:
        super().__init__()
        self.__dict__["backbone"] = backbone  # its parameters are not this module's
        self.output = output

    def forward(self, *_: Any, **__: Any) -> Any:
        return self.output

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["backbone"], name)


def _with_hidden(output: Any, hidden: Tensor) -> Any:
    """A backbone's output with other hidden states, (tokens, hidden size), as one row."""
    return type(output)(**{**output, "last_hidden_state": hidden[None]})
