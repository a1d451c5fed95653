"""How far a model's predictions on plain text moved from the base's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from bench.data.formats import Format
from bench.data.tokenize import collate, encode, token_id
from bench.evaluation.lm_eval import Model

DRIFT_ROWS = 1024


LOGITS_AT_ONCE = 1 << 25  # entries of a logits tensor


@dataclass(frozen=True)
class Drift:
    """Change of the predicted distribution on plain text, in nats per token."""

    nll: float
    base_nll: float
    kl: float
    """KL(base ‖ tuned)."""
    tokens: int


def drift(
    base: Model,
    tuned: Model,
    texts: list[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    tell: Callable[[float], None],
) -> Drift:
    """NLL of both models and KL(base ‖ tuned), averaged over all predicted tokens of at most the
    first 1024 texts.
    """
    encoded = encode({"text": texts[:DRIFT_ROWS]}, Format.LANGUAGE_MODELING, tokenizer, max_length)
    encoded = sorted(encoded, key=lambda e: len(e[0]))
    totals, count = torch.zeros(3, dtype=torch.float64), 0
    for done, batch in _text_batches(encoded, token_id(tokenizer, "pad"), base):
        with torch.no_grad():
            before, after = _log_probabilities(base, batch), _log_probabilities(tuned, batch)
        targets, real = batch["input_ids"][:, 1:], batch["attention_mask"][:, 1:].bool()
        nll_before = -before.gather(-1, targets[..., None])[..., 0]
        nll_after = -after.gather(-1, targets[..., None])[..., 0]
        divergence = (before.exp() * (before - after)).sum(-1)
        totals += torch.stack([x[real].sum() for x in (nll_after, nll_before, divergence)]).cpu()
        count += int(real.sum())
        tell(done / len(encoded))
    nll, base_nll, kl = (totals / max(count, 1)).tolist()
    return Drift(nll, base_nll, kl, count)


def _text_batches(
    encoded: list[Any], pad: int, model: Model
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Rows of similar length, as many at once as their logits leave room for."""
    vocabulary = model.config.get_text_config().vocab_size
    start = 0
    while start < len(encoded):
        size = max(
            1,
            min(
                64,
                LOGITS_AT_ONCE // (vocabulary * len(encoded[min(start + 63, len(encoded) - 1)][0])),
            ),
        )
        batch = collate(encoded[start : start + size], pad)
        start += size
        yield (
            min(start, len(encoded)),
            {name: tensor.to(model.device) for name, tensor in batch.items()},
        )


def _log_probabilities(model: Model, batch: dict[str, Tensor]) -> Tensor:
    """Of every token after the first, shape (rows, length - 1, vocabulary). Soft prompts put logits
    of their own in front.

    In float64: a divergence is a small sum of large terms of both signs, and in float32 that of
    near models would be their rounding.
    """
    width = batch["input_ids"].shape[1]
    logits = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).logits
    return torch.log_softmax(logits[:, -width:-1].double(), dim=-1)
