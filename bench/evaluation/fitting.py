"""Batches of evaluation that memory has room for."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from bench.accounting.resources import ran_out_of_memory

A = TypeVar("A")
B = TypeVar("B")


def answered(
    answer: Callable[[B], A], batch: B, halves: Callable[[B], Sequence[B]]
) -> Iterator[tuple[B, A]]:
    """The batch and its answer; or, where memory runs out, the same of its halves, and so on.

    `halves` gives a batch back whole that has none: then `answer`'s error is raised.
    """
    waiting = [batch]
    while waiting:
        some = waiting.pop(0)
        parts = halves(some)
        try:
            found = answer(some)
        except (RuntimeError, MemoryError) as error:
            if len(parts) == 1 or not ran_out_of_memory(error):
                raise
        else:
            yield some, found
            continue
        # only here, where the error is gone, is the memory free that its frames held
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        waiting = [*parts, *waiting]
