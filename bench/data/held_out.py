"""Validation rows for data that has none: a tenth of the training rows, chosen by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

SHARE = 0.1  # of the training rows
AT_ONCE = 1000  # rows that are Python objects at the same time
LARGEST = 1 << 64


@dataclass(frozen=True)
class Division:
    """Numbers of the rows to train on, and of those that are held out."""

    kept: list[int]
    held: list[int]


def divide(data: Dataset, numbers: Sequence[int]) -> Division:
    """Divide the rows of these numbers. Rows with the same content are on one side, wherever and in
    whatever order they stand.

    The choice depends on nothing but the content of the row, so every format that reads a file
    holds out the same rows, and a row that is added moves no other. At least one content is held
    out and, where there are two, at least one is kept.
    """
    marks = [mark(row) for row in each_row(data.select(numbers))]
    if not marks:
        return Division([], [])
    smallest, limit = min(marks), int(SHARE * LARGEST)
    if smallest >= limit or max(marks) < limit:  # a few rows: all would be on one side
        limit = smallest + 1
    kept = [n for n, value in zip(numbers, marks, strict=True) if value >= limit]
    return Division(kept, [n for n, value in zip(numbers, marks, strict=True) if value < limit])


def mark(row: dict[str, Any]) -> int:
    """A number in 0 … 2⁶⁴-1 that stands for the content of a row: the start of its SHA-256."""
    text = json.dumps(_plain(row), sort_keys=True, ensure_ascii=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def each_row(data: Dataset) -> Iterator[dict[str, Any]]:
    """Every row as a dictionary, read many at a time."""
    for first in range(0, len(data), AT_ONCE):
        columns = data[first : first + AT_ONCE]
        for cells in zip(*columns.values(), strict=True):
            yield dict(zip(columns, cells, strict=True))


def _plain(value: Any) -> Any:
    """Without keys that have no value: a missing key and an empty one are the same in a table."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    return [_plain(v) for v in value] if isinstance(value, list) else value
