"""How far a model's predictions moved from the base's: on plain text, and on the target."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from bench.data.formats import Format
from bench.data.render import IGNORED, Encoded
from bench.data.tokenize import collate, encode
from bench.evaluation.lm_eval import Model
from bench.models.labelled import logits_after
from bench.system.cache import keep

DRIFT_ROWS = 1024
TARGET_ROWS = 128
LOGITS_AT_ONCE = 1 << 25  # entries of a logits tensor
IN_CACHE = 1 << 19  # entries that a core's cache holds: in such parts a CPU is many times faster
NEAR = 1.0  # nats: log-probabilities nearer than this are compared by a series
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Drift:
    """Change of the predicted distribution, in nats per token."""

    nll: float
    base_nll: float
    kl: float
    """KL(base ‖ tuned)."""
    tokens: int


def drift(
    base: Model,
    tuned: Model,
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    tell: Callable[[float], None],
    folder: Path | None = None,
) -> Drift:
    """NLL of both models and KL(base ‖ tuned), averaged over all predicted tokens of at most the
    first 1024 texts.

    What the base says is the same in every run of a suite. Its last hidden states are kept in
    `folder`, which stands for the base and its precision; its head makes the logits from them.
    """
    rows = {"text": list(texts[:DRIFT_ROWS])}
    encoded = encode(rows, Format.LANGUAGE_MODELING, tokenizer, max_length)
    return drift_of_rows(base, tuned, encoded, tokenizer, tell, folder)


def drift_of_rows(
    base: Model,
    tuned: Model,
    encoded: Sequence[Encoded],
    tokenizer: PreTrainedTokenizerBase,
    tell: Callable[[float], None],
    folder: Path | None = None,
) -> Drift:
    """As `drift`, averaged over the labelled tokens of rows: of a prompt with a completion those of
    the completion and its end, each predicted from all that stands before it.
    """
    batches = list(_batches(sorted(encoded, key=lambda e: len(e[0])), tokenizer, base))
    totals, count = torch.zeros(3, dtype=torch.float64), 0
    with torch.no_grad():
        known = _base_logits(base, batches, folder)
        for done, (batch, before) in enumerate(zip(batches, known, strict=True), 1):
            targets = batch["input_ids"][:, 1:][_predicted(batch)]
            totals += _compared(before, _logits(tuned, batch), targets)
            count += len(targets)
            tell(done / len(batches))
    nll, base_nll, kl = (totals / max(count, 1)).tolist()
    return Drift(nll, base_nll, kl, count)


def _batches(
    encoded: list[Encoded], tokenizer: PreTrainedTokenizerBase, model: Model
) -> Iterator[Batch]:
    """Rows of similar length, as many at once as their logits leave room for."""
    vocabulary = model.config.get_text_config().vocab_size
    start = 0
    while start < len(encoded):
        longest = len(encoded[min(start + 63, len(encoded) - 1)][0])
        size = max(1, min(64, LOGITS_AT_ONCE // (vocabulary * longest)))
        batch = collate(encoded[start : start + size], tokenizer)
        start += size
        yield {name: tensor.to(model.device) for name, tensor in batch.items()}


def _inputs(batch: Batch) -> Batch:
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def _predicted(batch: Batch) -> Tensor:
    """Which tokens after the first are labelled, of shape (rows, length - 1)."""
    return batch["labels"][:, 1:] != IGNORED


def _logits(model: Model, batch: Batch) -> Tensor:
    """The logits before every predicted token, (tokens, vocabulary): those of others, such as of
    the prompts on the target, are not made.
    """
    before = _predicted(batch)
    at = torch.cat([before, torch.zeros_like(before[:, :1])], 1)  # nothing follows the last token
    return logits_after(model, {**_inputs(batch), "use_cache": False}, at)[0]


def _compared(before: Tensor, after: Tensor, targets: Tensor) -> Tensor:
    """See `_sums`; a few tokens at a time."""
    entries = IN_CACHE if before.device.type == "cpu" else LOGITS_AT_ONCE
    parts = (x.split(max(1, entries // before.shape[-1])) for x in (before, after, targets))
    return torch.stack([_sums(*part) for part in zip(*parts, strict=True)]).sum(0)


def _sums(before: Tensor, after: Tensor, targets: Tensor) -> Tensor:
    """Sums over tokens of both NLLs, the tuned model's first, and of the divergence, in float64.

    KL(p ‖ q) = Σ q - p + p·d with d = log p - log q, as both sum to 1. No term is negative, and
    where d is small the term is p·(exp(-d) - 1 + d): so the rounding of float32 enters squared.
    """
    log_p, log_q = before.float().log_softmax(-1), after.float().log_softmax(-1)
    p, d = log_p.exp(), log_p - log_q
    terms = torch.where(d.abs() < NEAR, p * (torch.expm1(-d) + d), log_q.exp() - p + p * d)
    nll = [-of.gather(-1, targets[:, None]) for of in (log_q, log_p)]
    return torch.stack([x.double().sum() for x in (*nll, terms.sum(-1))]).cpu()


def _base_logits(base: Model, batches: list[Batch], folder: Path | None) -> Iterator[Tensor]:
    """The base's logits before every predicted token, for each batch."""
    head = base.get_output_embeddings()
    states = None if folder is None else _kept(base, batches, folder)
    for number, batch in enumerate(batches):
        if states is None or head is None:
            yield _logits(base, batch)
        else:
            yield head(states[str(number)].to(base.device))


def _kept(base: Model, batches: list[Batch], folder: Path) -> dict[str, Tensor] | None:
    """Last hidden states of the base before every predicted token, by number of the batch: from the
    folder, or computed and put there. None where more than a head makes logits from them.
    """
    digest = hashlib.sha256()
    for batch in batches:
        for name in ("input_ids", "attention_mask", "labels"):
            digest.update(batch[name].cpu().numpy().tobytes())
    file = folder / f"drift-{digest.hexdigest()[:16]}.safetensors"
    if file.is_file():
        return load_file(file)
    if not _head_alone(base, batches[0]):
        return None
    states = {str(i): _states(base, b)[:, :-1][_predicted(b)] for i, b in enumerate(batches)}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in states.items()}
    keep(file, save(tensors))
    return tensors


def _states(base: Model, batch: Batch) -> Tensor:
    return base.base_model(**_inputs(batch), use_cache=False)[0]  # pyright: ignore[reportCallIssue]


def _head_alone(base: Model, batch: Batch) -> bool:
    """Whether the head makes the logits from the last hidden states and nothing comes after it."""
    head = base.get_output_embeddings()
    if head is None:
        return False
    whole = base(**_inputs(batch), use_cache=False).logits
    return torch.equal(head(_states(base, batch)), whole)
