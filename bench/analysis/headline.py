"""The results in a few sentences, made from the numbers."""

from __future__ import annotations

import math
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
        return f"{said}; of these, {_least(forgetful, group.least_forgetful, level)}."
    if forgetful:
        return f"{said}; it forgets {_with_bounds(best, FORGETTING, level)}."
    return f"{said}."


def _least(rows: list[Row], names: list[str], level: float) -> str:
    """Which of some rows forget least, as far as tests tell."""
    least = [row for row in rows if row.recipe in names]
    if len(least) == 1:
        return f"{least[0].recipe} forgets least: {_with_bounds(least[0], FORGETTING, level)}"
    some = least if 0 < len(least) < len(rows) else rows
    column, values = named(FORGETTING), [row.means[FORGETTING] for row in some]
    ends = f"({column.write(min(values))} to {column.quantity(max(values))})"
    if some is rows:
        return f"none is known to forget least {ends}"
    who = listed(names) if len(least) <= FEW else str(len(least))
    return f"{who} are tied for the least forgetting {ends}"


def _nothing_gained(group: Group, ranked: list[Row], target: Sequence[str], level: float) -> str:
    (start,) = (row for row in group.rows if row.recipe == BASE)
    best, count = ranked[0], len(ranked)
    reached, it = _with_bounds(best, ACCURACY, level), "it"
    if best.gain and best.gain[1] < 0:
        even = f"even the highest of {count} recipes, {best.recipe}," if count > 1 else best.recipe
        changes = f"{even} lowers accuracy below"
    elif count > 1:
        changes, it = (
            f"none of {count} recipes raises accuracy above",
            f"the highest, {best.recipe},",
        )
    else:
        changes = f"{best.recipe} does not raise accuracy above"
    before = named(ACCURACY).quantity(start.means[ACCURACY])
    return (
        f"On {listed(target)}, {changes} the base's {before} by more than noise: {it} reaches"
        f" {reached}."
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

    tuned = {str(r.tuned_from): r.means[ACCURACY] for r in after}
    pairs = [(r.means[ACCURACY], tuned[r.recipe]) for r in before]
    agreement: Any = kendalltau(*zip(*pairs, strict=True))[0]
    if math.isnan(agreement):  # all are equal: that is no order
        return ""
    first, then = before[0].recipe, str(after[0].tuned_from)
    leads = (
        f"{first} leads both with defaults and when tuned"
        if first == then
        else f"{first} leads with defaults, {then} when tuned"
    )
    moved = sum(a.recipe != b.tuned_from for a, b in zip(before, after, strict=True))
    distinct = all(len(set(column)) == len(pairs) for column in zip(*pairs, strict=True))
    places = f"{moved} of {len(pairs)} recipes change places, and " if distinct else ""
    tied = all(a.ties_with(b) for a, b in combinations(before, 2))
    doubt = " With defaults, all of them are statistically indistinguishable." if tied else ""
    return (
        f"{leads}; {places}the two orders agree with Kendall's τ ="
        f" {minus(f'{agreement:.2f}')}.{doubt}"
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
