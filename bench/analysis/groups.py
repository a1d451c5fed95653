"""Which rows may be compared, what keeps others apart, and what the items say of differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Literal

from bench.analysis import columns, statistics
from bench.analysis.answers import Answers
from bench.analysis.measure import row
from bench.analysis.outcomes import Outcomes
from bench.analysis.rows import Row
from bench.analysis.shape import Group
from bench.records.schema import BASE, Record
from bench.records.stages import Environment

MOST_TARGETS = 4  # every choice of some of them is compared: fourteen choices of four
MOST_COMPARED = 100
"""Recipes of which each is compared with each: of more, the best so many."""
ENOUGH_FOR_IQM = 4  # scores: of fewer, the middle half is no half


def grouped(records: Sequence[Record], together: bool) -> list[list[Record]]:
    """Records whose budget, data and evaluation agree, the greatest group first; all of them where
    that is asked for.
    """
    if together:
        return [list(records)]
    alike: dict[str, list[Record]] = {}
    for record in records:
        alike.setdefault(record.comparison_key, []).append(record)
    return sorted(alike.values(), key=lambda group: -len(group))


def rows_of(records: Sequence[Record], answers: Answers) -> list[Row]:
    """The base first, then by target accuracy; recipes without a result last."""
    base = next((r for r in records if r.recipe == BASE and r.ok), None)
    recipes: dict[str, list[Record]] = {}
    for record in records:
        recipes.setdefault(record.recipe, []).append(record)
    return sorted(
        (row(name, own, base, answers) for name, own in recipes.items()),
        key=lambda row: (
            row.recipe != BASE,
            "target_accuracy" not in row.means,
            -row.means.get("target_accuracy", 0.0),
        ),
    )


def group(rows: list[Row], answers: Answers, level: float, apart: str) -> Group:
    """Rows with their intervals and tie groups, and every comparison between them."""
    made = Group(rows, apart)
    _accuracies(made, answers, level)
    _forgetting(rows, answers, level)
    _gains(rows, answers, level)
    _machines(made)
    made.least_forgetful = _least_forgetful(made, answers, level)
    return made


def _accuracies(made: Group, answers: Answers, level: float) -> None:
    """Intervals of target accuracy, and tie groups where all recipes were asked the same."""
    scored = {
        row.recipe: (row, o)
        for row in made.rows
        if (o := answers.outcomes(row.fine, row.records[0].target)) is not None
    }
    for own, outcomes in scored.values():
        own.intervals["target_accuracy"] = statistics.accuracy(outcomes, level).bounds
    scored.pop(BASE, None)
    asked = {
        answers.asked(row.fine, row.records[0].target)
        for row, outcomes in scored.values()
        if outcomes.scores  # others cannot be paired with any row
    }
    several = {tuple(row.records[0].target) for row, _ in scored.values()}
    # None, or put together on request: no test pairs answers to different questions.
    if len(asked) > 1 or len(several) != 1:
        return
    best = sorted(scored, key=lambda recipe: -scored[recipe][1].value)[:MOST_COMPARED]
    made.best = len(best) if len(best) < len(scored) else None
    of, scored = len(scored), {recipe: scored[recipe] for recipe in best}
    compared = statistics.compare({recipe: o for recipe, (_, o) in scored.items()}, level, of)
    made.pairs, made.smallest, made.typical = compared.pairs, compared.smallest, compared.typical
    (targets,) = several
    made.compared = {targets: compared, **_on_some(scored, targets, answers, level, of)}
    for recipe, (own, _) in scored.items():
        own.intervals["target_accuracy"] = compared.accuracies[recipe].bounds
        own.tie_groups = compared.letters[recipe]
    _over_seeds_and_targets(made, [own for own, _ in scored.values()], level)


def _on_some(
    scored: dict[str, tuple[Row, Outcomes]],
    targets: Sequence[str],
    answers: Answers,
    level: float,
    of: int,
) -> dict[tuple[str, ...], statistics.Comparison]:
    """The rows compared on each choice of some of the targets, where they are few."""
    if not 1 < len(targets) <= MOST_TARGETS:
        return {}
    found = {}
    for count in range(1, len(targets)):
        for some in combinations(targets, count):
            own = {name: answers.outcomes(row.fine, some) for name, (row, _) in scored.items()}
            known = {name: outcomes for name, outcomes in own.items() if outcomes is not None}
            if len(known) == len(own):
                found[some] = statistics.compare(known, level, of)
    return found


def _over_seeds_and_targets(made: Group, trained: list[Row], level: float) -> None:
    """The mean of the middle half, and how often one recipe's run beats another's (Agarwal et al.
    2021, 2108.13264).
    """
    scores = {
        own.recipe: [[r.scores[task].value for task in r.target] for r in own.fine]
        for own in trained
    }
    for own in trained:
        table = scores[own.recipe]
        if len(table) > 1 and len(table) * len(table[0]) >= ENOUGH_FOR_IQM:
            middle = statistics.iqm(table, level)
            own.means["target_iqm"] = middle.value
            own.intervals["target_iqm"] = middle.bounds
    for pair in made.pairs:
        one, other = scores[pair.one], scores[pair.other]
        if len(one) > 1 and len(other) > 1:
            made.chances[pair.one, pair.other] = statistics.chance(one, other)


def _forgetting(rows: list[Row], answers: Answers, level: float) -> None:
    """Intervals of what was forgotten, for recipes that were asked the same items as the base."""
    for own, change in _changes(rows, answers, level, "retain"):
        own.intervals["forgetting"] = (-change.high, -change.low)


def _gains(rows: list[Row], answers: Answers, level: float) -> None:
    """Intervals of what was gained on the target, for recipes that were asked as the base was."""
    for own, change in _changes(rows, answers, level, "target"):
        own.gain = change.bounds


def _least_forgetful(made: Group, answers: Answers, level: float) -> list[str]:
    """Of the recipes that tie with the best, the one that forgets least, and those which no test
    tells from it; empty where they cannot be compared.
    """
    best = next((row for row in made.rows if row.tie_groups), None)
    tied = [row for row in made.rows if best and row.ties_with(best)]
    kept = {row.recipe: answers.outcomes(row.fine, row.records[0].retain) for row in tied}
    known = {name: outcomes for name, outcomes in kept.items() if outcomes is not None}
    asked = {answers.asked(row.fine, row.records[0].retain) for row in tied}
    if len(known) < max(len(kept), 2) or len(asked) > 1:
        return []
    compared = statistics.compare(known, level)
    first = next(iter(compared.letters))
    alike = [p.other for p in compared.pairs if p.one == first and p.adjusted > 1 - level]
    return [first, *alike]


def _changes(
    rows: list[Row], answers: Answers, level: float, what: Literal["target", "retain"]
) -> Iterator[tuple[Row, statistics.Estimate]]:
    """What each recipe scored more than the base on the tasks that a record has under `what`."""
    base = next((row for row in rows if row.recipe == BASE and row.fine), None)
    if base is None:
        return
    tasks: list[str] = getattr(base.records[0], what)
    before, asked = answers.outcomes(base.fine, tasks), answers.asked(base.fine, tasks)
    alike = {
        row.recipe: row
        for row in rows
        if row is not base
        and getattr(row.records[0], what) == tasks
        and answers.asked(row.fine, tasks) == asked
    }
    known = {name: answers.outcomes(row.fine, tasks) for name, row in alike.items()}
    after = {name: outcomes for name, outcomes in known.items() if outcomes is not None}
    if before is None or not after:
        return
    for recipe, estimate in statistics.changes(before, after, level).items():
        yield alike[recipe], estimate


def environment(record: Record) -> str:
    """Hardware and versions that a record's speed and memory depend on; empty where it does not
    say.
    """
    told = record.environment
    parts = [
        told.device,
        told.dtype,
        told.python and f"Python {told.python}",
        ", ".join(f"{name} {version}" for name, version in sorted(told.libraries.items())),
    ]
    return "; ".join(part for part in parts if part)


def _machines(made: Group) -> None:
    """Speed and memory stay with the rows of the most common environment; those of the others stand
    apart.
    """
    for own in made.rows:
        own.environment = " and also ".join(dict.fromkeys(filter(None, map(environment, own.fine))))
    counted = Counter(own.environment for own in made.rows if own.environment)
    made.environments = [place for place, _ in counted.most_common()]
    for place in made.environments[1:]:
        rows = [own for own in made.rows if own.environment == place]
        made.elsewhere.append((place, [_moved(own) for own in rows]))


def _moved(own: Row) -> Row:
    """Speed and memory of a row as a row of its own; in the table a reason takes their place."""
    machine = {column.name for column in columns.every().values() if column.machine}
    measured = ("means", "spreads", "intervals")
    apart = replace(own, marks=[*own.marks], missing={**own.missing})
    own.missing |= dict.fromkeys(machine & own.means.keys(), "other machine")
    for kind in measured:
        values = getattr(own, kind)
        setattr(apart, kind, {name: v for name, v in values.items() if name in machine})
        setattr(own, kind, {name: v for name, v in values.items() if name not in machine})
    own.marks.append("other machine")
    return apart


def what_differs(records: Sequence[Record], others: Sequence[Record]) -> str:
    """Each part of what must be shared in which the first records of the groups differ."""
    here, there = _described(records[0]), _described(others[0])
    parts = [
        f"{name}: {here.get(name, 'unknown')} here, {there.get(name, 'unknown')} there"
        for name in dict.fromkeys((*there, *here))
        if here.get(name) != there.get(name)
    ]
    return "; ".join(parts) or "their comparison keys differ, and the records do not say why"


def _described(record: Record) -> dict[str, str]:
    budget, batch = record.budget, record.batch
    environment = record.evaluation.environment if record.evaluation else Environment()
    found: dict[str, Any] = {
        "suite": record.suite if record.imported else None,
        "model": record.fingerprints.model,
        **{f"data of {name}": value for name, value in record.fingerprints.tasks.items()},
        "drift text": record.fingerprints.drift,
        "target": ", ".join(record.target),
        "retained tasks": ", ".join(record.retain),
        "split": record.split,
        "budget": f"{budget.amount:,.10g} {budget.currency}" if budget else None,
        "batch size": batch.size if batch else None,
        "batch max_length": batch.max_length if batch else None,
        "batch group_by_length": (batch.group_by_length or None) if batch else None,
        "device": environment.device_kind,
        "precision": environment.dtype,
        **dict(_flat(record.imported.compared if record.imported else {}, "")),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
