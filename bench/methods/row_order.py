"""The order in which a session takes the rows of its task."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from bench.data.chat import opened
from bench.data.grouping import grouped, lengths
from bench.data.order import derive, order

if TYPE_CHECKING:
    from datasets import Dataset

    from bench.data.formats import Format
    from bench.methods.session import Session


def row_numbers(
    session: Session, data: Dataset, format: Format, count: int | None = None
) -> Iterator[int]:
    """Numbers of training rows, the same for all recipes; the first `count`, or without end."""
    numbers = islice(order(len(data), session._data_seed), count)
    if not session.group_by_length:
        return numbers

    def measured(some: list[int]) -> list[int]:
        return lengths(opened(data[some]), format, session.tokenizer, session.max_length)

    seed = derive(session._data_seed, "group_by_length")
    return grouped(numbers, len(data), session.batch_size, seed, measured)
