"""Batches of evaluation that memory has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from bench.accounting.resources import let_go, ran_out_of_memory

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
        try:
            found = answer(some)
        except (RuntimeError, MemoryError) as error:
            parts = halves(some)
            if len(parts) == 1 or not ran_out_of_memory(error):
                raise
        else:
            yield some, found
            continue
        # only here, where the error is gone, is the memory free that its frames held
        let_go()
        waiting = [*parts, *waiting]
