"""Rows whose runs were done once more: whether the numbers came out the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.analysis import columns
from bench.analysis.answers import Answers
from bench.analysis.diff import Change, diff
from bench.records.schema import Record
from bench.records.store import Store


@dataclass(frozen=True)
class Again:
    """One row beside itself, each run with the same seed and hyper-parameters as before."""

    changes: list[Change]
    """Target accuracy and forgetting, as far as they can be tested: the later minus the published.
    """
    alike: float | None
    """Share of the items of its targets that were answered as before; None where outcomes by item
    are not there.
    """
    day: str
    device: str
    commit: str

    @property
    def confirmed(self) -> bool:
        """Whether nothing changed by more than noise. What cannot be tested is not confirmed."""
        return bool(self.changes) and not any(change.verdict for change in self.changes)

    def told(self) -> str:
        """The same in words."""
        verdict = "re-run and confirmed" if self.confirmed else "re-run, not confirmed"
        parts = [f"{verdict} on {self.device}, {self.day}"]
        parts += [f"commit {self.commit}"] if self.commit else []
        parts += [
            f"{columns.named(c.measure).title} {100 * c.a:.1f} → {100 * c.b:.1f}"
            for c in self.changes
        ]
        if self.alike is not None:
            parts.append(f"{100 * self.alike:.1f}% of the target's items answered as before")
        return ", ".join(parts)


def repeated(store: Store, records: Sequence[Record], answers: Answers) -> dict[str, Again]:
    """By recipe, for rows of which every run was done once more; `records` and `answers` are of the
    first time.
    """
    rows: dict[str, list[Record]] = {}
    for record in records:
        if record.ok:
            rows.setdefault(record.recipe, []).append(record)
    later = {record.id: record for record in store.repeated([r.id for r in records]) if record.ok}
    whole = {recipe for recipe, own in rows.items() if all(r.id in later for r in own)}
    if not whole:
        return {}
    newer, found = Answers(store.again), {}
    for entry in diff(store.folder, store.again.folder).recipes:
        if entry.recipe in whole:
            before = rows[entry.recipe]
            after = [later[record.id] for record in before]
            found[entry.recipe] = Again(
                entry.changes,
                _alike(before, after, answers, newer),
                max((r.finished_at or "")[:10] for r in after),
                ", ".join(dict.fromkeys(r.environment.device or "another device" for r in after)),
                ", ".join(dict.fromkeys(r.git.short for r in after if r.git)),
            )
    return found


def _alike(
    rows: Sequence[Record], after: Sequence[Record], answers: Answers, newer: Answers
) -> float | None:
    same = []
    for record, later in zip(rows, after, strict=True):
        old, new = answers.by_task(record), newer.by_task(later)
        for task in record.target:
            was, now = old.get(task, {}), new.get(task, {})
            same += [was[key] == now[key] for key in was.keys() & now.keys()]
    return fmean(same) if same else None
