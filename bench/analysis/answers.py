"""From what each run answered, item by item, to what statistics reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.outcomes import Array, Outcomes
from bench.metrics.forgetting.flips import Flips
from bench.records.schema import Record
from bench.records.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[str, int]
RIGHT, WRONG = 1.0, 0.0
COLUMNS = ("task", "part", "doc_id")


@dataclass(frozen=True, eq=False)
class _Asked:
    """The items of one task, sorted: runs that were asked the same share it."""

    keys: tuple[Key, ...]
    """Part of the task, and number of the document."""
    places: Any
    """Where each stands in the file: integers [items]."""
    digest: int


class Answers:
    """The per-item outcomes of a results folder; each file is read once.

    What was asked is kept once for all runs that were asked the same, and of a run its scores
    alone: a suite may have 10,000 runs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, dict[str, tuple[_Asked, Array]]] = {}
        self._asked: dict[bytes, dict[str, _Asked]] = {}

    def by_task(self, record: Record) -> dict[str, dict[Key, float]]:
        """Outcome of each item, by task, then by part of the task and number of the document; empty
        where they are not known.
        """
        return {
            task: dict(zip(asked.keys, scores.tolist(), strict=True))
            for task, (asked, scores) in self._of_run(record).items()
        }

    def known(self, record: Record, task: str) -> bool:
        """Whether it is known what became of each item of a task."""
        return self._of(record, task) is not None

    def flipped(self, before: Record, after: Record, task: str) -> Flips | None:
        """What became of each item; None where there are none, or they are not simply right or
        wrong.
        """
        if (old := self._of(before, task)) is None or (new := self._of(after, task)) is None:
            return None
        if any(((scores != RIGHT) & (scores != WRONG)).any() for _, scores in (old, new)):
            return None
        was, now = _shared(old, new)
        if not len(was):
            return None
        kept, right, later = int(was @ now), int(was.sum()), int(now.sum())
        return Flips(kept, right - kept, later - kept, len(was) - right - later + kept)

    def asked(self, records: Sequence[Record], tasks: Sequence[str]) -> int:
        """Changes when other items were asked, so that only answers to the same are paired."""
        found = [(task, self._of(record, task)) for record in records[:1] for task in tasks]
        return hash(tuple((task, own[0].digest if own else 0) for task, own in found))

    def outcomes(self, records: Sequence[Record], tasks: Sequence[str]) -> Outcomes | None:
        """What one recipe scored on some tasks over its seeds; None where scores are no shares of
        right answers.
        """
        scores = [record.scores for record in records]
        if not records or not tasks:
            return None
        if not all(task in s and s[task].is_share for s in scores for task in tasks):
            return None
        if all(self._of(record, task) for record in records for task in tasks):
            return self._of_items(records, tasks)
        counted = [(scores[0][task].value, scores[0][task].items or 0) for task in tasks]
        if len(records) > 1 or not all(items for _, items in counted):
            return None
        return Outcomes.of_summary(counted)

    def _of_items(self, records: Sequence[Record], tasks: Sequence[str]) -> Outcomes | None:
        tables = []
        for task in tasks:
            found = [own for record in records if (own := self._of(record, task))]
            if any(asked.keys != found[0][0].keys for asked, _ in found):
                return None
            tables.append(table := np.stack([scores for _, scores in found]))
            if not ((table >= 0) & (table <= 1)).all():
                return None  # a mean in 0..1 may be one of other numbers
        return Outcomes.of_items(tables)

    def _of(self, record: Record, task: str) -> tuple[_Asked, Array] | None:
        """The items of one task and their scores."""
        return self._of_run(record).get(task)

    def _of_run(self, record: Record) -> dict[str, tuple[_Asked, Array]]:
        run = record.id
        if run not in self._read:
            table = self._store.items_table(run)
            self._read[run] = {} if table is None else self._split(table)
        return self._read[run]

    def _split(self, table: pa.Table) -> dict[str, tuple[_Asked, Array]]:
        scores = table["score"].to_numpy()
        digest = _digest(table.select(list(COLUMNS)).combine_chunks())
        if digest not in self._asked:
            self._asked[digest] = _by_task(table)
        return {task: (a, scores[a.places]) for task, a in self._asked[digest].items()}


def _digest(table: pa.Table) -> bytes:
    import pyarrow as pa

    whole = pa.BufferOutputStream()
    with pa.ipc.new_stream(whole, table.schema) as stream:
        stream.write_table(table)
    return hashlib.sha256(whole.getvalue()).digest()


def _by_task(table: pa.Table) -> dict[str, _Asked]:
    found: dict[str, list[tuple[Key, int]]] = {}
    columns = (table[name].to_pylist() for name in COLUMNS)
    for place, (task, part, document) in enumerate(zip(*columns, strict=True)):
        found.setdefault(task, []).append(((part, document), place))
    made = {}
    for task, own in found.items():
        keys, places = zip(*sorted(own), strict=True)
        made[task] = _Asked(keys, np.array(places), hash(keys))
    return made


def _shared(old: tuple[_Asked, Array], new: tuple[_Asked, Array]) -> tuple[Array, Array]:
    """The scores of both on the items that both were asked, in one order."""
    if old[0] is new[0]:
        return old[1], new[1]
    was, now = (dict(zip(a.keys, own, strict=True)) for a, own in (old, new))
    keys = sorted(was.keys() & now.keys())
    return np.array([was[key] for key in keys]), np.array([now[key] for key in keys])
