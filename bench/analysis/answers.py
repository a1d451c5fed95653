"""From what each run answered, item by item, to what statistics reads."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.outcomes import Outcomes
from bench.metrics.forgetting.flips import Flips, flips
from bench.records.schema import Record
from bench.records.store import Store

Key = tuple[str, int]
RIGHT, WRONG = 1.0, 0.0


class Answers:
    """The per-item outcomes of a results folder; each file is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, dict[str, dict[Key, float]]] = {}

    def by_task(self, record: Record) -> dict[str, dict[Key, float]]:
        """Outcome of each item, by task, then by part of the task and number of the document; empty
        where they are not known.
        """
        run = record.id
        if run not in self._read:
            tasks = self._read.setdefault(run, {})
            for (name, part, document), score in self._store.items(run).items():
                tasks.setdefault(name, {})[part, document] = score
        return self._read[run]

    def of(self, record: Record, task: str) -> dict[Key, float]:
        """Outcome of each item of one task."""
        return self.by_task(record).get(task, {})

    def flipped(self, before: Record, after: Record, task: str) -> Flips | None:
        """What became of each item; None where there are none, or they are not simply right or
        wrong.
        """
        old, new = self.of(before, task), self.of(after, task)
        shared = sorted(old.keys() & new.keys())
        if not shared or not {*old.values(), *new.values()} <= {RIGHT, WRONG}:
            return None
        return flips([old[key] for key in shared], [new[key] for key in shared])

    def asked(self, records: Sequence[Record], tasks: Sequence[str]) -> int:
        """Changes when other items were asked, so that only answers to the same are paired."""
        return hash(
            tuple(
                (task, frozenset(self.of(record, task))) for record in records[:1] for task in tasks
            )
        )

    def outcomes(self, records: Sequence[Record], tasks: Sequence[str]) -> Outcomes | None:
        """What one recipe scored on some tasks over its seeds; None where scores are no shares of
        right answers.
        """
        scores = [record.scores for record in records]
        if not records or not tasks:
            return None
        if not all(s[task].is_share for s in scores for task in tasks):
            return None
        if all(self.of(record, task) for record in records for task in tasks):
            return self._of_items(records, tasks)
        counted = [(scores[0][task].value, scores[0][task].items or 0) for task in tasks]
        if len(records) > 1 or not all(items for _, items in counted):
            return None
        return Outcomes.of_summary(counted)

    def _of_items(self, records: Sequence[Record], tasks: Sequence[str]) -> Outcomes | None:
        tables = []
        for task in tasks:
            keys = sorted(self.of(records[0], task))
            if any(self.of(record, task).keys() != set(keys) for record in records):
                return None
            tables.append([[self.of(record, task)[key] for key in keys] for record in records])
        return Outcomes.of_items(tables)
