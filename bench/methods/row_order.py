"""The order in which a session takes the rows of its task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from bench.data.chat import opened
from bench.data.grouping import grouped, lengths
from bench.data.order import derive, interleaved, order

if TYPE_CHECKING:
    from datasets import Dataset

    from bench.data.formats import Format
    from bench.data.tasks import Task
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


def old_rows(
    session: Session, format: Format, size: int, tasks: Sequence[Task]
) -> Iterator[dict[str, list[Any]]]:
    """See `Session.old_rows`."""
    tables = [task.load(format, "train") for task in tasks if format in task.formats]
    return interleaved(tables, size, session._data_seed)
