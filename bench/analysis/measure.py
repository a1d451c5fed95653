"""From the records of one recipe to its row: each column's mean and spread over seeds, or the
reason why there is none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from bench.analysis import columns
from bench.analysis.answers import Answers
from bench.analysis.rows import Objective, Row
from bench.records.schema import BASE, Record
from bench.records.stages import Charge, ObjectiveLook

UNPUBLISHED = "not published"
"""Why a number is missing that others did not publish."""
FORGETTING = ("forgetting", "items_lost", "items_gained")
Cells = dict[str, float | str]
"""By column: a number, or the reason why there is none."""


def row(recipe: str, records: list[Record], base: Record | None, answers: Answers) -> Row:
    """All that the records of one recipe say, one per seed."""
    first, fine = records[0], [r for r in records if r.ok]
    budget = first.budget
    made = Row(
        recipe,
        _status(records),
        next((r.reason for r in records if not r.ok), None),
        len(fine),
        (budget.currency, budget.amount) if budget else ("unknown", math.nan),
        records,
        family=first.family,
        references={method.name: method.reference for method in first.methods},
        tuned_from=first.tuned_from,
        imported=first.imported.source if first.imported else None,
        answered=bool(fine) and all(answers.known(r, task) for r in fine for task in r.target),
    )
    cells = [recorded(r) | _of_tasks(r) | _forgotten(r, base, answers) for r in fine]
    for column in dict.fromkeys(c for own in cells for c in own):
        found = [float(v) for own in cells if not isinstance(v := own.get(column, ""), str)]
        if found:
            made.means[column] = fmean(found)
        if len(found) > 1:
            made.spreads[column] = spread(found)
    made.missing[f"spent_{made.budget[0]}"] = made.status if budget else UNPUBLISHED
    for own in cells:
        made.missing |= {column: v for column, v in own.items() if isinstance(v, str)}
    made.ledger = _ledger(fine)
    made.objectives = _objectives([look for r in fine if r.train for look in r.train.objective])
    return made


def spread(values: Sequence[float]) -> float:
    """The standard deviation of two values or more, with n - 1: to the last digit but one what
    `statistics.stdev` gives, which calculates with fractions and takes thirty times as long.
    """
    if min(values) == max(values):  # their mean may be a last digit away
        return 0.0
    mean = fmean(values)
    return math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) - 1)


def recorded(record: Record) -> Cells:
    """Every column that one record holds by itself."""
    return {c.name: _found(record, c) for c in columns.every().values() if c.source}


def _found(record: Record, column: columns.Column) -> float | str:
    value: Any = record
    for name in column.source.split("."):
        value = None if value is None else getattr(value, name)
    if value is not None:
        return value
    if record.train is None and column.source.startswith("train."):
        return UNPUBLISHED if record.imported and record.recipe != BASE else "not trained"
    return UNPUBLISHED if record.imported else column.otherwise


def _status(records: list[Record]) -> str:
    counts = Counter(str(record.status) for record in records)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{n} {status}" for status, n in counts.items())


def _ledger(records: list[Record]) -> dict[str, dict[str, float]]:
    """What was spent by purpose, a mean over seeds; a purpose that a seed did without counts as
    nothing there.
    """
    ledgers = [record.train.ledger.by_purpose if record.train else {} for record in records]
    nothing = Charge()
    return {
        purpose: {
            currency: (
                sum(getattr(own.get(purpose, nothing), currency) or 0.0 for own in ledgers)
                / len(ledgers)
            )
            for currency in Charge.model_fields
        }
        for purpose in dict.fromkeys(purpose for own in ledgers for purpose in own)
    }


def _objectives(looks: list[ObjectiveLook]) -> list[Objective]:
    """What each stage optimizes, a mean over seeds, in the order of training; a stage that was not
    measured is left out.
    """
    found: dict[tuple[str, str, str, str | None], list[tuple[float, float]]] = {}
    for look in looks:
        before, after = look.before.values, look.after.values
        for name in sorted(before.keys() & after.keys()):
            better = look.better if name == look.goal else None
            key = (look.stage, look.method, name, better)
            found.setdefault(key, []).append((before[name], after[name]))
    return [
        Objective(*key, *(fmean(column) for column in zip(*pairs, strict=True)))
        for key, pairs in found.items()
    ]


def _of_tasks(record: Record) -> Cells:
    """Scores on each of several targets, and on tasks that were neither learned nor to be kept."""
    targets = record.target if len(record.target) > 1 else []
    others = sorted(record.scores.keys() - {*record.target, *record.retain})
    names = [("score", task) for task in targets] + [("measured", task) for task in others]
    return {f"{name}[{task}]": record.scores[task].value for name, task in names}


def _forgotten(record: Record, base: Record | None, answers: Answers) -> Cells:
    """Accuracy lost against the base on each retained task, and items that flipped from right to
    wrong and from wrong to right.
    """
    if not record.retain or base is None:
        return dict.fromkeys(FORGETTING, "no base" if record.retain else "no retained tasks")
    # as points of a curve once were; or a table put together of suites that retain other tasks
    if not record.scores.keys() & base.scores.keys() >= set(record.retain):
        return dict.fromkeys(FORGETTING, "not scored")
    cells: Cells = {}
    lost_all, gained_all, drops = 0, 0, []
    for task in record.retain:
        old, new = base.scores[task], record.scores[task]
        drop = (old.value - new.value) * (1 if new.higher_is_better else -1)
        cells |= {f"score[{task}]": new.value, f"forgetting[{task}]": drop}
        drops.append(drop)
        if (flips := answers.flipped(base, record, task)) is None:
            cells |= dict.fromkeys(FORGETTING[1:], "no items that are right or wrong")
        else:
            cells |= {f"items_lost[{task}]": flips.lost, f"items_gained[{task}]": flips.gained}
            lost_all, gained_all = lost_all + flips.lost, gained_all + flips.gained
    totals = fmean(drops), lost_all, gained_all
    return {**dict(zip(FORGETTING, totals, strict=True)), **cells}
