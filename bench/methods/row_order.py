"""The order in which a session takes the rows of its task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from torch.utils.data import Sampler

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


@dataclass(frozen=True)
class Ordered:
    """All training rows of a format in the order of the first epoch."""

    rows: Dataset
    source: Dataset
    """The same in the order of the task."""
    format: Format
    numbers: list[int]
    """Of each row in the source."""


def ordered(session: Session, data: Dataset, format: Format) -> Ordered:
    """All rows in the order of the first epoch."""
    numbers = list(row_numbers(session, data, format, len(data)))
    return Ordered(data.select(numbers), data, format, numbers)


class TrainerOrder(Sampler[int]):
    """The order of `Session.rows` for a trainer, which takes its dataset an epoch at a time.

    An epoch of this order is whole optimizer steps: a step has rows of two epochs where `Session`
    gives it such a batch. A dataset that holds less than one step, in several parts, has shorter
    steps: a trainer has no way to begin its data again within one.
    """

    def __init__(self, session: Session, count: int) -> None:
        """`count` rows are in the trainer's dataset: those of `Session.dataset`, in its order, or
        what the trainer made of them.
        """
        self._rows = _places(session, count)
        part, size = session.rows_at_once, session.batch_size
        passes = -(-count // part)
        steps = passes * part // size if passes * part >= size else 0
        self._length = steps * size or passes * part

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return islice(self._rows, self._length)


def _places(session: Session, count: int) -> Iterator[int]:
    """Where in a trainer's dataset each row lies that `Session.rows` gives, without end. A trainer
    that left rows out has its own, drawn anew for each epoch after the first.
    """
    given = session._ordered
    if given is None or len(given.numbers) != count:
        return chain(range(count), order(count, derive(session._data_seed, "trainer")))
    place = {number: i for i, number in enumerate(given.numbers)}
    return (place[number] for number in row_numbers(session, given.source, given.format))


def old_rows(
    session: Session, format: Format, size: int, tasks: Sequence[Task]
) -> Iterator[dict[str, list[Any]]]:
    """See `Session.old_rows`."""
    tables = [task.load(format, "train") for task in tasks if format in task.formats]
    return interleaved(tables, size, session._data_seed)
