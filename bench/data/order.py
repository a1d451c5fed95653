"""The order of the data and the seeds of every axis of randomness, all derived from the suite's
seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from bench.data.chat import opened
from bench.data.formats import Format
from bench.system.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Ordered:
    """All training rows of a format in the order of the first epoch."""

    rows: Dataset
    source: Dataset
    """The same in the order of the task."""
    format: Format
    numbers: list[int]
    """Of each row in the source."""


def order(count: int, seed: int) -> Iterator[int]:
    """Row numbers without end: a new permutation of 0 … count-1 for every epoch."""
    import numpy as np

    if count == 0:
        raise UserError("a training split is empty")
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(count).tolist()


def evenly_spaced(count: int, total: int) -> list[int]:
    """`count` of the numbers 0 … total-1, or all of them where there are fewer."""
    count = min(count, total)
    return [i * total // count for i in range(count)]


def derive(seed: int, axis: str) -> int:
    """The seed of one axis of randomness, by SHA-256, in 0 … 2³¹-1."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{axis}".encode()).digest()[:4], "big") >> 1


def interleaved(tables: Sequence[Any], size: int, seed: int) -> Iterator[dict[str, list[Any]]]:
    """Batches of `size` rows as columns, without end; every table has the same share."""
    numbers = [order(len(table), derive(seed, f"old/{i}")) for i, table in enumerate(tables)]
    columns = list(dict.fromkeys(name for table in tables for name in table.column_names))
    turns = order(len(tables), derive(seed, "old"))
    while True:
        rows = [tables[i][next(numbers[i])] for i in islice(turns, size)]
        yield opened({name: [row.get(name) for row in rows] for name in columns})
