"""Rows of similar length in one batch, so that little of it is padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from bench.data.formats import Format
from bench.data.tokenize import encode, encode_pairs, prompt_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

POOL = 16
"""Batches whose rows are put together anew."""


def grouped(
    numbers: Iterator[int],
    count: int,
    size: int,
    seed: int,
    lengths: Callable[[list[int]], Sequence[int]],
) -> Iterator[int]:
    """The row numbers of an order of epochs of `count` rows, reordered for batches of `size`.

    Up to 16 batches of one epoch are a pool. Its rows are sorted by length and cut into batches,
    which follow in an order drawn by `seed`. So every pool has the rows that it has without
    grouping. Equal arguments give equal orders.
    """
    import numpy as np

    rng, taken = np.random.default_rng(seed), 0
    while True:
        left = count - taken % count  # a row must not be twice in a pool, let alone in a batch
        pool = list(islice(numbers, size * min(POOL, max(1, left // size))))
        if not pool:
            return
        taken += len(pool)
        by_length = np.array(pool)[np.argsort(lengths(pool), kind="stable")].tolist()
        for batch in rng.permutation(-(-len(pool) // size)).tolist():
            yield from by_length[batch * size : (batch + 1) * size]


def lengths(
    rows: Mapping[str, Sequence[Any]],
    format: Format,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[int]:
    """Tokens of each row as a model gets it, at most `max_length`: of the longest, where a row has
    several completions.
    """
    if format == Format.LANGUAGE_MODELING:
        return [len(ids) for ids, _ in encode(rows, format, tokenizer, max_length)]
    if format == Format.PROMPT_ONLY:
        return [min(len(ids), max_length) for ids in prompt_ids(rows["prompt"], tokenizer)]
    several = _completions(rows, format)
    prompts = [p for p, some in zip(rows["prompt"], several, strict=True) for _ in some]
    said = [completion for some in several for completion in some]
    found = (len(ids) for ids, _ in encode_pairs(prompts, said, tokenizer, max_length))
    return [max(islice(found, len(some)), default=0) for some in several]


def _completions(rows: Mapping[str, Sequence[Any]], format: Format) -> list[Sequence[Any]]:
    """The completions of each row."""
    if format == Format.RANKING:
        return list(rows["completions"])
    names = ("chosen", "rejected") if format == Format.PREFERENCE else ("completion",)
    return list(zip(*(rows[name] for name in names), strict=True))
