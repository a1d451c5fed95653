"""Which rows may be compared, and what the items say of their differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

from bench.analysis import columns, statistics
from bench.analysis.answers import Answers
from bench.analysis.measure import row
from bench.analysis.rows import Row
from bench.analysis.shape import Group
from bench.records.schema import BASE, Record

ENOUGH_FOR_IQM = 4  # scores: of fewer, the middle half is no half


@dataclass
class Member:
    """One recipe of a group with its records."""

    row: Row
    records: list[Record]

    @property
    def fine(self) -> list[Record]:
        return [r for r in self.records if r.ok]


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


def members(records: Sequence[Record], answers: Answers) -> list[Member]:
    """The base first, then by target accuracy; recipes without a result last."""
    base = next((r for r in records if r.recipe == BASE and r.ok), None)
    recipes: dict[str, list[Record]] = {}
    for record in records:
        recipes.setdefault(record.recipe, []).append(record)
    made = [Member(_row(name, own, base, answers), own) for name, own in recipes.items()]
    return sorted(
        made,
        key=lambda m: (
            m.row.recipe != BASE,
            "target_accuracy" not in m.row.means,
            -m.row.means.get("target_accuracy", 0.0),
        ),
    )


def _row(recipe: str, records: list[Record], base: Record | None, answers: Answers) -> Row:
    made = row(recipe, records, base, answers)
    first = records[0]
    made.family = first.family
    made.references = {method.name: method.reference for method in first.methods}
    made.tuned_from = first.tuned_from
    made.imported = first.imported.source if first.imported else None
    return made


def group(found: list[Member], answers: Answers, level: float, apart: str) -> Group:
    """Rows with their intervals and tie groups, and every comparison between them."""
    made = Group([m.row for m in found], apart)
    _accuracies(made, found, answers, level)
    _forgetting(found, answers, level)
    _machines(made, found)
    return made


def _accuracies(made: Group, found: list[Member], answers: Answers, level: float) -> None:
    """Intervals of target accuracy, and tie groups where all recipes were asked the same."""
    scored = [
        (m, o) for m in found if (o := answers.outcomes(m.fine, m.records[0].target)) is not None
    ]
    trained = [(m, o) for m, o in scored if m.row.recipe != BASE]
    for member, outcomes in scored:
        _put(member.row, "target_accuracy", statistics.accuracy(outcomes, level))
    asked = {(*m.records[0].target, answers.asked(m.fine, m.records[0].target)) for m, _ in trained}
    if (
        len(asked) != 1
    ):  # none, or put together on request: no test pairs answers to different questions
        return
    compared = statistics.compare({m.row.recipe: o for m, o in trained}, level)
    made.pairs, made.smallest, made.typical = compared.pairs, compared.smallest, compared.typical
    for member, _ in trained:
        _put(member.row, "target_accuracy", compared.accuracies[member.row.recipe])
        member.row.tie_groups = compared.letters[member.row.recipe]
    _over_seeds_and_targets(made, {m.row.recipe: _scores(m) for m, _ in trained}, level)


def _scores(member: Member) -> list[list[float]]:
    return [[r.scores[task].value for task in r.target] for r in member.fine]


def _over_seeds_and_targets(
    made: Group, scores: dict[str, list[list[float]]], level: float
) -> None:
    """The mean of the middle half, and how often one recipe's run beats another's (Agarwal et al.
    2021, 2108.13264).
    """
    for own in made.rows:
        table = scores.get(own.recipe, [])
        if len(table) > 1 and len(table) * len(table[0]) >= ENOUGH_FOR_IQM:
            middle = statistics.iqm(table, level)
            own.means["target_iqm"] = middle.value
            _put(own, "target_iqm", middle)
    for pair in made.pairs:
        if len(scores[pair.one]) > 1 and len(scores[pair.other]) > 1:
            made.chances[pair.one, pair.other] = statistics.chance(
                scores[pair.one], scores[pair.other]
            )


def _forgetting(found: list[Member], answers: Answers, level: float) -> None:
    """Intervals of what was forgotten, for recipes that were asked the same items as the base."""
    base = next((m for m in found if m.row.recipe == BASE and m.fine), None)
    if base is None:
        return
    retained = base.records[0].retain
    before, asked = answers.outcomes(base.fine, retained), answers.asked(base.fine, retained)
    alike = [
        m
        for m in found
        if m is not base
        and m.records[0].retain == retained
        and answers.asked(m.fine, retained) == asked
    ]
    after = {
        m.row.recipe: o for m in alike if (o := answers.outcomes(m.fine, retained)) is not None
    }
    if before is None or not after:
        return
    rows = {m.row.recipe: m.row for m in alike}
    for recipe, estimate in statistics.changes(before, after, level).items():
        rows[recipe].intervals["forgetting"] = (-estimate.high, -estimate.low)


def _put(own: Row, column: str, estimate: statistics.Estimate) -> None:
    own.intervals[column] = (estimate.low, estimate.high)


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


def _machines(made: Group, found: list[Member]) -> None:
    """Speed and memory stay with the rows of the most common environment; those of the others stand
    apart.
    """
    places = [(m.row, _place(m)) for m in found]
    counted = Counter(place for _, place in places if place)
    made.environments = [place for place, _ in counted.most_common()]
    for own, place in places:
        own.environment = place
    for place in made.environments[1:]:
        rows = [own for own, where in places if where == place]
        made.elsewhere.append((place, [_moved(own) for own in rows]))


def _place(member: Member) -> str:
    return " and also ".join(dict.fromkeys(filter(None, map(environment, member.fine))))


def _moved(own: Row) -> Row:
    """Speed and memory of a row as a row of its own; in the table a reason takes their place."""
    apart = deepcopy(own)
    machine = [column.name for column in columns.every().values() if column.machine]
    for values in (apart.means, apart.spreads, apart.intervals):
        for column in [c for c in values if c not in machine]:
            del values[column]
    for column in machine:
        if own.means.pop(column, None) is not None:
            own.missing[column] = "other machine"
        own.spreads.pop(column, None)
        own.intervals.pop(column, None)
    own.marks.append("other machine")
    return apart
