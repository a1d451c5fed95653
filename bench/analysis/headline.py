"""What the numbers come to, in sentences made from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.rows import Row
from bench.analysis.shape import Group
from bench.records.schema import BASE

FEW = 3  # rows that a sentence may name one by one


def headline(group: Group, target: Sequence[str], level: float) -> str:
    """Who learned most, who is not known to differ, and who of these forgot least."""
    ranked = [r for r in group.rows if r.recipe != BASE and "target_accuracy" in r.means]
    if not ranked:
        return f"No recipe has a result on {listed(target)}."
    best = ranked[0]
    said = (
        f"On {listed(target)}, {best.recipe} reaches"
        f" {_percent(best, level)}{' on average' if len(target) > 1 else ''}"
    )
    if len(ranked) == 1:
        return said + ", the only recipe with a result."
    tied = [r for r in ranked[1:] if set(r.letters) & set(best.letters)]
    if not best.letters:
        said += f", the highest of {len(ranked)} recipes, though no test says whether they differ"
    elif not tied:
        said += f", more than each of the other {len(ranked) - 1}"
    elif all(len(row.letters) == 1 and row.letters == best.letters for row in ranked):
        said += (
            f", the highest of {len(ranked)} recipes, none of which is known to differ from another"
        )
    elif len(tied) <= FEW:
        said += f", not known to differ from {listed([r.recipe for r in tied])}"
    else:
        said += f"; {len(tied)} of the other {len(ranked) - 1} are not known to differ from it"
    with_forgetting = [r for r in (best, *tied) if "forgetting" in r.means]
    if tied and len(with_forgetting) > 1:
        least = min(with_forgetting, key=lambda r: r.means["forgetting"])
        return f"{said}; of these, {least.recipe} forgets least: {_points(least, level)}."
    return f"{said}; it forgets {_points(best, level)}." if with_forgetting else f"{said}."


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1] if names else "")))


def _percent(row: Row, level: float) -> str:
    value, bounds = 100 * row.means["target_accuracy"], row.intervals.get("target_accuracy")
    return f"{value:.1f}%" + (
        f" ({100 * level:g}% interval {100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"
        if bounds
        else ""
    )


def _points(row: Row, level: float) -> str:
    value, bounds = 100 * row.means["forgetting"], row.intervals.get("forgetting")
    told = f"{value:.1f} points".replace("-", "−")
    return told + (
        f" ({100 * level:g}% interval {100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})".replace(
            "-", "−"
        )
        if bounds
        else ""
    )


def ranking(group: Group, level: float) -> list[str]:
    """What tuning moved: the order before and after, and which gains are more than noise."""
    rows = {r.recipe: r for r in group.rows if "target_accuracy" in r.means}
    both = [(rows[r.tuned_from], r) for r in rows.values() if r.tuned_from in rows]
    if len(both) < 2:
        return []
    gains = sorted(
        ((b.means["target_accuracy"] - a.means["target_accuracy"], a, b) for a, b in both),
        key=lambda g: -g[0],
    )
    before, after = (
        sorted((pair[i] for pair in both), key=lambda r: -r.means["target_accuracy"])
        for i in (0, 1)
    )
    sure = [b.tuned_from for _, a, b in gains if _differ(group, a.recipe, b.recipe)]
    most, least = gains[0], gains[-1]
    said = [
        f"Tuning moved single rows by {_signed(least[0])} ({least[1].recipe}) to {_signed(most[0])}"
        f" points ({most[1].recipe}); {len(sure)} of {len(both)} changes are more than noise at the"
        f" {100 * level:g}% level"
        + (f" ({listed([str(s) for s in sure])})." if 0 < len(sure) <= 2 * FEW else ".")
    ]
    said.append(_order(before, after))
    spread = [
        max(r.means["target_accuracy"] for r in rs) - min(r.means["target_accuracy"] for r in rs)
        for rs in (before, after)
    ]
    said.append(
        f"From the best to the last of these recipes it is {100 * spread[0]:.1f} points before"
        f" tuning and {100 * spread[1]:.1f} after."
    )
    said.append(_price(both))
    worse = [b for gain, _, b in gains if gain < 0]
    if worse:
        said.append(
            f"{listed([str(r.tuned_from) for r in worse])} scored lower with what the trials chose"
            " than with defaults: a search of few trials can miss."
        )
    return [sentence for sentence in said if sentence]


def _order(before: list[Row], after: list[Row]) -> str:
    from scipy.stats import kendalltau

    places = {r.recipe: i for i, r in enumerate(before)}
    order = [places[str(r.tuned_from)] for r in after]
    agreement: Any = kendalltau(range(len(order)), order)[0]
    first, then = before[0].recipe, str(after[0].tuned_from)
    leads = (
        f"{first} leads both with defaults and tuned"
        if first == then
        else f"{first} leads with defaults, {then} when tuned"
    )
    moved = sum(i != place for i, place in enumerate(order))
    tau = f"{agreement:.2f}".replace("-", "−")
    same = set.intersection(*(set(r.letters) for r in before))
    doubt = " With defaults, none of them is known to differ from another." if same else ""
    return (
        f"{leads}; {moved} of {len(order)} recipes change places, and the two orders agree to"
        f" Kendall's τ = {tau}.{doubt}"
    )


def _price(both: list[tuple[Row, Row]]) -> str:
    """What a rule that looks at the target alone did to the retained tasks."""
    told = [
        (a.means["forgetting"], b.means["forgetting"])
        for a, b in both
        if "forgetting" in a.means and "forgetting" in b.means
    ]
    if not told:
        return ""
    before, after = (100 * sum(column) / len(told) for column in zip(*told, strict=True))
    return (
        f"The choice looked at the target alone: on average these recipes forget {before:.1f}"
        f" points with defaults, {after:.1f} tuned."
    )


def _differ(group: Group, one: str, other: str) -> bool:
    letters = {r.recipe: set(r.letters) for r in group.rows}
    return not letters[one] & letters[other]


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")
