"""The order in which a session takes the rows of its task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, Any

from torch.utils.data import Sampler

from bench.data.chat import opened
from bench.data.grouping import grouped, lengths
from bench.data.order import Ordered, derive, interleaved, order
from bench.system import ranks

if TYPE_CHECKING:
    from datasets import Dataset

    from bench.accounting.budget import Budget
    from bench.data.formats import Format
    from bench.data.tasks import Task
    from bench.methods.state import SessionState

LOOK = 0.1
"""Share of a training's tokens that one look at its objective reads: looking costs little beside
training.
"""
LEAST_ROWS, MOST_ROWS = 8, 64


def row_numbers(
    session: SessionState, data: Dataset, format: Format, count: int | None = None
) -> Iterator[int]:
    """Numbers of training rows, the same for all recipes; the first `count`, or without end."""
    numbers = islice(order(len(data), session._data_seed), count)
    if not session.group_by_length:
        return numbers

    def measured(some: list[int]) -> list[int]:
        return lengths(opened(data[some]), format, session.tokenizer, session.max_length)

    seed = derive(session._data_seed, "group_by_length")
    return grouped(numbers, len(data), session.batch_size, seed, measured)


def look(budget: Budget) -> float:
    """Tokens that one look at a model should read, beside a training on this budget."""
    return LOOK * budget.amount if budget.currency == "tokens" else math.inf


def looked_at(
    session: SessionState, data: Dataset, format: Format, most_tokens: float
) -> Iterator[dict[str, list[Any]]]:
    """Batches of the rows for a look at a model: `MOST_ROWS`, or fewer where these have more than
    `most_tokens`, but `LEAST_ROWS` in any case.
    """
    some = opened(data[: min(MOST_ROWS, len(data))])
    tokens = lengths(some, format, session.tokenizer, session.max_length)
    fit = sum(read <= most_tokens for read in accumulate(tokens))
    count = min(len(data), max(LEAST_ROWS, fit))
    for first in range(0, count, session.batch_size):
        yield opened(data[first : min(first + session.batch_size, count)])


def ordered(session: SessionState, data: Dataset, format: Format) -> Ordered:
    """All rows in the order of the first epoch."""
    numbers = list(row_numbers(session, data, format, len(data)))
    return Ordered(data.select(numbers), data, format, numbers)


class TrainerOrder(Sampler[int]):
    """The order of `Session.rows` for a trainer, which takes its dataset an epoch at a time.

    An epoch of this order is whole optimizer steps: a step has rows of two epochs where `Session`
    gives it such a batch. A dataset that holds less than one step, in several parts, has shorter
    steps: a trainer has no way to begin its data again within one.
    """

    def __init__(self, session: SessionState, count: int) -> None:
        """`count` rows are in the trainer's dataset: those of `Session.dataset`, in its order, or
        what the trainer made of them.
        """
        self._rows = _of_this_rank(_places(session, count), session.batch_size)
        part, size = session.rows_at_once, session.batch_size // ranks.count()
        passes = -(-count // (part * ranks.count()))
        steps = passes * part // size if passes * part >= size else 0
        self._length = steps * size or passes * part

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return islice(self._rows, self._length)


def _of_this_rank(places: Iterator[int], batch_size: int) -> Iterator[int]:
    """Of each batch the rows that this rank passes, where several train together."""
    share, rank = batch_size // ranks.count(), ranks.number()
    return (place for i, place in enumerate(places) if i % batch_size // share == rank)


def _places(session: SessionState, count: int) -> Iterator[int]:
    """Where in a trainer's dataset each row lies that `Session.rows` gives, without end. A trainer
    that left rows out has its own, drawn anew for each epoch after the first.
    """
    given = session._ordered
    if given is None or len(given.numbers) != count:
        return chain(range(count), order(count, derive(session._data_seed, "trainer")))
    place = {number: i for i, number in enumerate(given.numbers)}
    return (place[number] for number in row_numbers(session, given.source, given.format))


def old_rows(
    session: SessionState, format: Format, size: int, tasks: Sequence[Task]
) -> Iterator[dict[str, list[Any]]]:
    """See `Session.old_rows`."""
    tables = [task.load(format, "train") for task in tasks if format in task.formats]
    return interleaved(tables, size, session._data_seed)
