"""The results in a few sentences, made from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from bench.analysis.caveats import no_gain
from bench.analysis.columns import named
from bench.analysis.rows import Row
from bench.analysis.shape import Group
from bench.analysis.words import listed, minus, percent, signed
from bench.records.schema import BASE

FEW = 3  # rows that a sentence may name one by one
ACCURACY, FORGETTING = "target_accuracy", "forgetting"


def headline(group: Group, target: Sequence[str], level: float) -> str:
    """Which recipe learned most, which ones tie with it, and which of these forgot least."""
    ranked = [r for r in group.rows if r.recipe != BASE and ACCURACY in r.means]
    if not ranked:
        return f"No recipe has a result on {listed(target)}."
    best, others = ranked[0], ranked[1:]
    if len(no_gain(group)) == len(ranked):
        return _nothing_gained(group, ranked, target, level)
    if group.best:
        others = [r for r in others if r.tie_groups]
    average = " on average" if len(target) > 1 else ""
    said = f"On {listed(target)}, {best.recipe} reaches {_with_bounds(best, ACCURACY, level)}"
    tied = [r for r in others if r.ties_with(best)]
    said += average + _lead(best, others, tied)
    if group.best:
        said += f" (the best {group.best} of {len(ranked)} recipes were compared)"
    forgetful = [r for r in (best, *tied) if FORGETTING in r.means] if others else []
    if tied and len(forgetful) > 1:
        least = min(forgetful, key=lambda r: r.means[FORGETTING])
        forgets = _with_bounds(least, FORGETTING, level)
        return f"{said}; of these, {least.recipe} forgets least: {forgets}."
    if forgetful:
        return f"{said}; it forgets {_with_bounds(best, FORGETTING, level)}."
    return f"{said}."


def _nothing_gained(group: Group, ranked: list[Row], target: Sequence[str], level: float) -> str:
    (start,) = (row for row in group.rows if row.recipe == BASE)
    best, count = ranked[0], len(ranked)
    who = f"none of {count} recipes raises" if count > 1 else f"{best.recipe} does not raise"
    reached = _with_bounds(best, ACCURACY, level)
    return (
        f"On {listed(target)}, {who} accuracy above the base's"
        f" {named(ACCURACY).quantity(start.means[ACCURACY])} by more than noise:"
        f" {f'the highest, {best.recipe},' if count > 1 else 'it'} reaches {reached}."
    )


def _lead(best: Row, others: list[Row], tied: list[Row]) -> str:
    if not others:
        return ", the only recipe with a result"
    count = len(others) + 1
    if not best.tie_groups:
        return f", the highest of {count} recipes, which no test compared"
    if not tied:
        more = others[0].recipe if len(others) == 1 else f"each of the other {len(others)}"
        return f", more than {more}"
    if all(len(row.tie_groups) == 1 and row.tie_groups == best.tie_groups for row in others):
        return f", the highest of {count} recipes, all statistically indistinguishable"
    if len(tied) <= FEW:
        return f", statistically indistinguishable from {listed([r.recipe for r in tied])}"
    return f"; {len(tied)} of the other {len(others)} are statistically indistinguishable from it"


def _with_bounds(row: Row, name: str, level: float) -> str:
    column = named(name)
    ends = column.ends(row)
    bounds = f" ({100 * level:g}% interval {ends[0]} to {ends[1]})" if ends else ""
    return f"{column.quantity(row.means[name])}{bounds}"


def ranking(group: Group, level: float) -> list[str]:
    """What tuning changed: single recipes, their order, and what it cost the retained tasks."""
    rows = {r.recipe: r for r in group.rows if ACCURACY in r.means}
    both = [(rows[r.tuned_from], r) for r in rows.values() if r.tuned_from in rows]
    if len(both) < 2:
        return []
    both.sort(key=lambda pair: pair[0].means[ACCURACY] - pair[1].means[ACCURACY])
    before, after = (
        sorted(own, key=lambda r: -r.means[ACCURACY]) for own in zip(*both, strict=True)
    )
    worse = [a.recipe for a, b in both if b.means[ACCURACY] < a.means[ACCURACY]]
    told = [_gains(both, level), _order(before, after), _spread(before, after), _price(both)]
    if worse:
        told.append(
            f"{listed(worse)} scored lower with the chosen hyper-parameters than with defaults: a"
            " search of few trials can miss."
        )
    return [sentence for sentence in told if sentence]


def _gains(both: list[tuple[Row, Row]], level: float) -> str:
    """`both` starts with the greatest gain."""
    least, most = (
        f"{signed(b.means[ACCURACY] - a.means[ACCURACY])} ({a.recipe})"
        for a, b in (both[-1], both[0])
    )
    changed = f"Tuning changed target accuracy by {least} to {most} points"
    compared = [(a, b) for a, b in both if a.ties_with(b) is not None]
    if not compared:
        return f"{changed}; no test compared the rows before and after."
    sure = [a.recipe for a, b in compared if not a.ties_with(b)]
    named_ones = f" ({listed(sure)})" if 0 < len(sure) <= 2 * FEW else ""
    return (
        f"{changed}; {len(sure)} of {len(compared)} changes are significant at the"
        f" {100 * level:g}% level{named_ones}."
    )


def _order(before: list[Row], after: list[Row]) -> str:
    from scipy.stats import kendalltau

    places = {r.recipe: i for i, r in enumerate(before)}
    order = [places[str(r.tuned_from)] for r in after]
    agreement: Any = kendalltau(range(len(order)), order)[0]
    first, then = before[0].recipe, str(after[0].tuned_from)
    leads = (
        f"{first} leads both with defaults and when tuned"
        if first == then
        else f"{first} leads with defaults, {then} when tuned"
    )
    moved = sum(i != place for i, place in enumerate(order))
    tied = all(a.ties_with(b) for a, b in combinations(before, 2))
    doubt = " With defaults, all of them are statistically indistinguishable." if tied else ""
    return (
        f"{leads}; {moved} of {len(order)} recipes change places, and the two orders agree with"
        f" Kendall's τ = {minus(f'{agreement:.2f}')}.{doubt}"
    )


def _spread(before: list[Row], after: list[Row]) -> str:
    default, tuned = (
        percent(rows[0].means[ACCURACY] - rows[-1].means[ACCURACY]) for rows in (before, after)
    )
    return (
        f"The best and the worst of these recipes are {default} points apart with defaults and"
        f" {tuned} when tuned."
    )


def _price(both: list[tuple[Row, Row]]) -> str:
    """What choosing by the target alone did to the retained tasks."""
    told = [
        (a.means[FORGETTING], b.means[FORGETTING])
        for a, b in both
        if FORGETTING in a.means and FORGETTING in b.means
    ]
    if not told:
        return ""
    before, after = (minus(percent(sum(column) / len(told))) for column in zip(*told, strict=True))
    return (
        f"Hyper-parameters were chosen by target accuracy alone: on average these recipes forget"
        f" {before} points with defaults and {after} when tuned."
    )
