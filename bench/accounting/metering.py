"""What a run may spend and what it did spend, charged by the models themselves.

A `Meter` sits on a model as forward pre-hooks, so that no method can forget to charge. Per forward
it counts

* tokens: positions of the attention mask that carry data (padding and virtual tokens of soft
  prompts are no data);
* texts, as samples: each is one whenever a model reads it, with or without gradients. A packed row
  holds as many as begin in it, by its positions. A completion that is generated is one together
  with its prompt;
* FLOPs of the matrix products: 2·n for each weight matrix of n entries and each token that passes
  it; with gradients on, 2·n more where its input needs a gradient and 2·n more where it is trained
  itself; 4·q·k·width per layer for attention of q queries on k keys, and 2.5 times as much for its
  backward pass. Virtual tokens cost FLOPs; padding does not.

The count follows Kaplan et al. (2020), 2001.08361, §2.1, refined by which gradients a method really
needs.
"""

from __future__ import annotations

from contextlib import ExitStack
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from weakref import ref

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.pytorch_utils import Conv1D

from bench.accounting.flops import Probe, Rates, head_widths, uncompiled
from bench.accounting.ledger import Account, Spend
from bench.accounting.packed import layers
from bench.system.recomputation import is_computed_again
from bench.system.side_by_side import lengths_side_by_side

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NO_GRADIENTS = -1
MATRICES = (nn.Linear, Conv1D)  # GPT-2 and its kin have the second


class Meter:
    """Charges every forward pass of a model to an account, through hooks on its backbone, its heads
    and its embedding.
    """

    def __init__(self, model: PreTrainedModel, account: Account, purpose: str) -> None:
        self.account, self.purpose = account, purpose
        self._model = model
        self.backbone: nn.Module = model.get_decoder()  # OPT passes by its base_model
        self._attention_width = head_widths(model.config.get_text_config())
        self._rates: dict[int, Rates] = {}
        self._state = NO_GRADIENTS
        self._probe: Probe | None = None
        self._embedded: int | None = None
        self._cache: ref[Cache] | None = None
        self._padding: Tensor | float = 0.0
        self._positions = 0
        self._mask: Any = None
        """That the model's body was given, for the pass that is about to run."""
        model.base_model.register_forward_pre_hook(self._begin, with_kwargs=True)
        self.backbone.register_forward_pre_hook(self._enter, with_kwargs=True)
        self.backbone.register_forward_hook(self._leave, always_call=True)
        model.get_input_embeddings().register_forward_pre_hook(self._embed)
        for layer in layers(self.backbone):
            layer.register_forward_pre_hook(self._before_quantized)
            layer.register_forward_hook(self._after_quantized, always_call=True)
        self._heads = self._watched_heads()
        self._charged_heads: list[nn.Module] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Meter:
        """A copy of a metered model is charged to the same account. One of a head alone, as PEFT
        makes it, keeps the meter that there is: a copy of that would copy the whole model.
        """
        if id(self.backbone) not in memo:
            return self
        made = object.__new__(Meter)
        memo[id(self)] = made
        shared = {"account": self.account}
        made.__dict__ = {**deepcopy(vars(self) | {"account": None}, memo), **shared}
        return made

    def _watched_heads(self) -> list[nn.Module]:
        """The matrices behind the model's body, which all tell from now on when they are called."""
        body = self._model.base_model
        inside = set((self.backbone if body is self._model else body).modules())
        found = [m for m in self._model.modules() if isinstance(m, MATRICES) and m not in inside]
        for head in found:
            if self._head not in head._forward_pre_hooks.values():
                head.register_forward_pre_hook(self._head)
        return [*found]

    def _spend(self) -> Spend:
        ledger = self.account.ledger
        return ledger.purposes[ledger.purpose or self.purpose]

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the body of a model, which may be more than its decoder."""
        self._mask = kwargs.get("attention_mask")

    def _embed(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._embedded = args[0].numel()

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given, self._mask = self._mask, None
        if self.account.ledger.suspended:
            return
        self.account.demand()
        ids = kwargs.get("input_ids", args[0] if args else None)
        inputs = ids if ids is not None else kwargs["inputs_embeds"]
        rows, queries = inputs.shape[:2]
        self._positions = rows * queries
        virtual = (
            0 if ids is not None or self._embedded is None else self._positions - self._embedded
        )
        self._embedded = None
        mask = kwargs.get("attention_mask")
        if isinstance(mask, dict):  # one for each kind of layer, made of the one that was given
            mask = given
        if (lengths := lengths_side_by_side()) is not None:
            tokens, pairs = lengths.sum(), lengths.double().square().sum()
        elif isinstance(mask, Tensor) and mask.dim() == 2:
            real, keys = mask[:, -queries:].sum(1), mask.sum(1)
            tokens, pairs = real.sum(), (real * keys).sum().double()
        else:
            cache = kwargs.get("past_key_values")
            past = cache.get_seq_length() if cache is not None else 0
            tokens, pairs = torch.tensor(self._positions), self._positions * (queries + past)
        self._padding = (self._positions - tokens).double()
        spend = self._spend()
        learning = torch.is_grad_enabled()
        spend.tokens = spend.tokens + (tokens - virtual)
        spend.flops = spend.flops + 4.0 * self._attention_width * pairs * (3.5 if learning else 1.0)
        spend.samples = spend.samples + self._texts(rows, mask, kwargs)
        self.account.ledger.learning_passes += learning
        self.account.ledger.charged(inputs.device)
        self._state = self._gradients()
        if self._state not in self._rates:
            self._watched_heads()  # an adapter may have put others in their place
            self._probe = Probe(self._positions, rows, self.backbone.buffers())
            self._watching = ExitStack()
            self._watching.enter_context(uncompiled(self.backbone))
            self._watching.enter_context(self._probe)

    def _texts(self, rows: int, mask: Any, kwargs: dict[str, Any]) -> Tensor | int:
        """How many texts a pass begins to read: none where it goes on with the cache of the last
        one, and several in a row that is packed, which transformers sees by the same signs.
        """
        cache = kwargs.get("past_key_values")
        if cache is not None and self._cache is not None and cache is self._cache():
            return rows if not cache.get_seq_length() else 0
        positions = kwargs.get("position_ids")
        if mask is not None or positions is None or positions.dim() != 2:
            return rows
        begun = (positions == 0).sum() * (rows // positions.shape[0])
        return begun.clamp(min=rows)

    def _gradients(self) -> int:
        """What the rates depend on: a new state is probed during the forward pass that is about to
        run.
        """
        if not torch.is_grad_enabled():
            return NO_GRADIENTS
        return hash(tuple(p.requires_grad for p in self.backbone.parameters()))

    def _leave(self, backbone: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Charge the backbone, and the heads for every token: a trainer may use a head's weight
        without calling it.
        """
        probe, self._probe = self._probe, None
        if probe is not None:
            self._watching.close()
        if output is None or self.account.ledger.suspended:  # None: the forward pass raised
            return
        cache = getattr(output, "past_key_values", None)
        self._cache = ref(cache) if isinstance(cache, Cache) else None
        if probe is not None:
            self._rates[self._state] = probe.rates
        spend, rates = self._spend(), self._rates[self._state]
        tokens = self._positions - self._padding
        spend.flops = spend.flops + rates.per_token * tokens + rates.per_pass
        for head in self._heads:
            spend.flops = spend.flops + _linear_flops(head, output[0]) * tokens
        self._charged_heads = list(self._heads)
        self.account.ledger.charged(output[0].device)

    def _before_quantized(self, layer: nn.Module, args: tuple[Any, ...]) -> None:
        """The library's own function multiplies, backward too: no probe sees what it does."""
        if self._probe is not None:
            assert isinstance(layer, nn.Linear)
            self._probe.product(layer.in_features * layer.out_features, args[0])

    def _after_quantized(self, layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._probe is not None:
            self._probe.resume()

    def _head(self, head: nn.Module, args: tuple[Any, ...]) -> None:
        """A head that is called is charged for what it really gets: generation may pass it the last
        position only, and a loss the labelled ones. One that is new takes the place of one of its
        shape, which it was made from.
        """
        if self.account.ledger.suspended or is_computed_again():
            return
        rows = args[0].shape[:-1].numel()
        tokens = rows - self._padding * (rows == self._positions)
        spend = self._spend()
        spend.flops = spend.flops + _linear_flops(head, args[0]) * tokens
        if (charged := self._charged_for(head)) is not None:
            self._charged_heads.remove(charged)
            self._heads[self._heads.index(charged)] = head
            tokens = self._positions - self._padding
            spend.flops = spend.flops - _linear_flops(charged, args[0]) * tokens
        self.account.ledger.charged(args[0].device)

    def _charged_for(self, head: nn.Module) -> nn.Module | None:
        """The head that was charged in place of this one, as long as that was not taken back."""
        if head in self._heads:
            return head if head in self._charged_heads else None
        same = (one for one in self._charged_heads if one.weight.shape == head.weight.shape)
        return next(same, None)


def _linear_flops(linear: nn.Module, inputs: Tensor) -> float:
    """FLOPs per token of one weight matrix: forward, and backward where gradients are needed."""
    weight = linear.weight
    assert isinstance(weight, Tensor)
    learned = torch.is_grad_enabled() * (inputs.requires_grad + weight.requires_grad)
    return 2.0 * weight.numel() * (1 + learned)
