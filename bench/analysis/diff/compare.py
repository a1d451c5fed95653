"""The way through: records of both sides, paired where they can be, tested together, and judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from bench.analysis import statistics
from bench.analysis.answers import Answers, Key
from bench.analysis.diff.cost import machines, ratios
from bench.analysis.diff.shape import ACCURACY, FORGETTING, Change, Diff, RecipeDiff
from bench.analysis.statistics import Outcomes
from bench.records.schema import BASE, Purpose, Record
from bench.records.store import Store
from bench.system.errors import UserError
from bench.system.location import Location

Side = str  # "a" or "b"


class _Folder:
    """The rows of one results folder and the records behind them."""

    def __init__(self, folder: Location) -> None:
        self.store = Store(folder)
        self.answers = Answers(self.store)
        self.records: dict[str, list[Record]] = {}
        for record in self.store.planned():
            if record.purpose is Purpose.ROW:
                self.records.setdefault(record.recipe, []).append(record)
        if not self.records:
            raise UserError(f"{folder} holds no records yet")

    @property
    def any(self) -> Record:
        return next(iter(self.records.values()))[0]

    def fine(self, recipe: str) -> list[Record]:
        return [record for record in self.records.get(recipe, []) if record.ok]

    def status(self, recipe: str) -> str:
        """ok where at least one seed has a result."""
        return "ok" if self.fine(recipe) else self.records[recipe][0].status


def diff(a: Location, b: Location, level: float = 0.95) -> Diff:
    """What changed from A to B. UserError where one holds no results, or they have no target in
    common.
    """
    one, two = _Folder(a), _Folder(b)
    if one.any.target != two.any.target:
        raise UserError(
            f"{a} is about {', '.join(one.any.target)} and {b} about {', '.join(two.any.target)}:"
            " give two results of the same suite"
        )
    shared = [recipe for recipe in one.records if recipe in two.records]
    if not shared:
        raise UserError(
            f"{a} and {b} have no recipe in common: {', '.join(one.records)} and"
            f" {', '.join(two.records)}"
        )
    found = Diff(
        str(a),
        str(b),
        level,
        recipes=[RecipeDiff(r, (one.status(r), two.status(r))) for r in shared],
        only_a=[recipe for recipe in one.records if recipe not in two.records],
        only_b=[recipe for recipe in two.records if recipe not in one.records],
        notes=list(_asked_otherwise(one, two)),
    )
    sides = {"a": one, "b": two}
    changes = [*_accuracies(sides, shared, found), *_forgettings(sides, shared, found)]
    raised = statistics.holm([change.p for _, change in changes])
    entries = {entry.recipe: entry for entry in found.recipes}
    for (recipe, change), p in zip(changes, raised, strict=True):
        entries[recipe].changes.append(_judged(change, p, level))
    for entry in found.recipes:
        if entry.status == ("ok", "ok"):
            both = one.fine(entry.recipe), two.fine(entry.recipe)
            entry.not_comparable = machines(*both)
            entry.ratios = {} if entry.not_comparable else ratios(*both)
    return found


def _asked_otherwise(one: _Folder, two: _Folder) -> Iterator[str]:
    for key in ("budget", "batch", "split", "retain"):
        a, b = getattr(one.any, key), getattr(two.any, key)
        if a != b:
            yield f"{key} differs: {_plain(a)} in A, {_plain(b)} in B"
    models = {folder.any.fingerprints.model for folder in (one, two)}
    if len(models) > 1 and None not in models:
        yield "the start model differs"
    for recipe in (name for name in one.records if name in two.records):
        first, second = (folder.records[recipe][0].parameters for folder in (one, two))
        both = ", ".join(
            f"{key} {_plain(first.get(key))} in A and {_plain(second.get(key))} in B"
            for key in dict.fromkeys([*first, *second])
            if first.get(key) != second.get(key)
        )
        if both:
            yield f"hyper-parameters of {recipe} differ: {both}"


def _plain(value: Any) -> str:
    """A part of a record, as one reads it in a sentence."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        value = ", ".join(map(_plain, value)) or None
    return "none" if value is None else str(value)


def _accuracies(
    sides: dict[Side, _Folder], shared: list[str], found: Diff
) -> Iterator[tuple[str, Change]]:
    compared = _compare(sides, shared, sides["a"].any.target, "target accuracy", found)
    for recipe, (a, b, pair) in compared.items():
        yield recipe, Change(ACCURACY, a, b, *_turned(pair, recipe, 1), pair.p)


def _forgettings(
    sides: dict[Side, _Folder], shared: list[str], found: Diff
) -> Iterator[tuple[str, Change]]:
    """Both sides are counted from A's base, so that a base that answers otherwise in B does not
    hide what recipes lost.
    """
    tasks = [task for task in sides["a"].any.retain if task in sides["b"].any.retain]
    if not tasks:
        return
    compared = _compare(sides, shared, tasks, "forgetting", found)
    if BASE not in compared:
        found.notes.append("forgetting is not compared: there is no base in both")
        return
    start, base_b, _ = compared[BASE]
    if start != base_b:
        found.notes.append(
            "the base scores otherwise on the retained tasks in B; forgetting is counted from A's"
            " base in both"
        )
    for recipe, (a, b, pair) in compared.items():
        yield recipe, Change(FORGETTING, start - a, start - b, *_turned(pair, recipe, -1), pair.p)


def _turned(pair: statistics.Pair, recipe: str, sign: int) -> tuple[float, float, float]:
    """Difference and bounds as B minus A, or as A minus B; a pair is the better minus the other."""
    if (pair.one == f"b {recipe}") == (sign > 0):
        return pair.difference, pair.low, pair.high
    return 0.0 - pair.difference, -pair.high, -pair.low  # 0.0 - 0.0 has no sign


def _compare(
    sides: dict[Side, _Folder], shared: list[str], tasks: list[str], what: str, found: Diff
) -> dict[str, tuple[float, float, statistics.Pair]]:
    """Means on both sides and their paired difference, for every recipe with a result on both
    sides.
    """
    both = [recipe for recipe in shared if sides["a"].fine(recipe) and sides["b"].fine(recipe)]
    records = {
        (side, recipe): folder.fine(recipe) for side, folder in sides.items() for recipe in both
    }
    if reason := _unfit(records, tasks):
        found.notes.append(f"{what} is not compared: {reason}")
        return {}
    paired = _paired(sides, records, tasks, what, found)
    outcomes = {
        f"{side} {recipe}": _outcomes(sides[side], group, tasks, paired)
        for (side, recipe), group in records.items()
    }
    comparison = statistics.compare(outcomes, found.level)
    pairs = {frozenset((pair.one, pair.other)): pair for pair in comparison.pairs}
    names = [(recipe, f"a {recipe}", f"b {recipe}") for recipe in both]
    return {
        recipe: (outcomes[a].value, outcomes[b].value, pairs[frozenset((a, b))])
        for recipe, a, b in names
    }


def _unfit(records: dict[tuple[Side, str], list[Record]], tasks: list[str]) -> str:
    """Why scores cannot be tested, if so: the tests are for shares of items, more being better."""
    if not records:
        return "no recipe has a result in both"
    for record in (record for group in records.values() for record in group):
        for task in tasks:
            score = record.scores[task]
            if not score.is_share:
                return f"{task} is measured in {score.metric}, which is no share of right answers"
            if not score.items:
                return f"{record.recipe} does not say how many items {task} has"
    return ""


Keys = dict[str, list[Key]]


def _paired(
    sides: dict[Side, _Folder],
    records: dict[tuple[Side, str], list[Record]],
    tasks: list[str],
    what: str,
    found: Diff,
) -> Keys:
    """The items by task that every record has an outcome for; none where records cannot be paired
    on items.
    """
    both = [side.any for side in sides.values()]
    if len({(r.split, *(r.fingerprints.tasks.get(task) for task in tasks)) for r in both}) > 1:
        found.notes.append(f"{what} is not paired on items: the data are not known to be the same")
        return {}
    answers = [sides[side].answers.by_task(r) for (side, _), own in records.items() for r in own]
    asked = {task: [set(items.get(task, ())) for items in answers if items] for task in tasks}
    keys = {task: sorted(set.intersection(*sets)) if sets else [] for task, sets in asked.items()}
    if not all(keys.values()):
        found.notes.append(
            f"{what} is not paired on items: outcomes by item are not there, or have no items in"
            " common"
        )
        return {}
    used = sum(map(len, keys.values()))
    there = sum(len(set.union(*sets)) for sets in asked.values())
    if used < there:
        found.notes.append(f"{what} is compared on the {used} items that every run has, of {there}")
    return keys


def _outcomes(folder: _Folder, records: list[Record], tasks: list[str], keys: Keys) -> Outcomes:
    """Of all seeds of one recipe; the mean over seeds where outcomes by item are not there."""
    items = [folder.answers.by_task(record) for record in records]
    if keys and all(items):
        return Outcomes.of_items(
            [[[found[task][key] for key in keys[task]] for found in items] for task in tasks]
        )
    return Outcomes.of_summary(
        (
            sum(record.scores[task].value for record in records) / len(records),
            len(keys.get(task, ())) or records[0].scores[task].items or 0,
        )
        for task in tasks
    )


def _judged(change: Change, adjusted: float, level: float) -> Change:
    """Whether a change is beyond noise, and which way. More accuracy is better, more forgetting
    worse.
    """
    better = change.difference > 0 if change.measure == ACCURACY else change.difference < 0
    verdict = ("better" if better else "worse") if adjusted <= 1 - level else ""
    return replace(change, adjusted=adjusted, verdict=verdict)
