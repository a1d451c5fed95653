"""Shares of the budget: each recipe in its own small picture, all others in grey behind it."""

from __future__ import annotations

from typing import Any

from bench.analysis import CurvePoint
from bench.analysis.statistics import Estimate
from bench.analysis.words import listed
from bench.report.html.charts import Chart, vega

DATA = "curve"
"""Name of the numbers that all the small pictures share."""


def points(curve: list[CurvePoint]) -> list[dict[str, Any]]:
    """Shares, accuracies and what was forgotten, in percent."""
    return [
        {"recipe": p.recipe, "share": 100 * p.share}
        | _bounds(p.accuracy, "")
        | (_bounds(p.forgetting, "forgotten_") if p.forgetting else {})
        for p in sorted(curve, key=lambda p: (p.recipe, p.share))
    ]


def _bounds(found: Estimate, of: str) -> dict[str, Any]:
    mean, low, high = (100 * value for value in (found.value, *found.bounds))
    text = f"{mean:.1f} ({low:.1f} to {high:.1f})"
    return {f"{of}mean": mean, f"{of}low": low, f"{of}high": high, f"{of}text": text}


def curves(curve: list[CurvePoint]) -> list[Chart]:
    """Target accuracy by share of the budget: one picture per recipe, in order of appearance."""
    return _each("curve", curve, shares=sorted({100 * p.share for p in curve}))


def paths(curve: list[CurvePoint]) -> list[Chart]:
    """Forgetting by target accuracy, from share to share: one picture per recipe."""
    return _each("path", [p for p in curve if p.forgetting])


def _each(template: str, curve: list[CurvePoint], **given: Any) -> list[Chart]:
    told: dict[str, list[str]] = {}
    for point in sorted(curve, key=lambda p: p.share):
        told.setdefault(point.recipe, []).append(_told(point))
    made = []
    for number, name in enumerate(dict.fromkeys(p.recipe for p in curve)):
        alt = f"{name}: {listed(told[name], 12)}."
        made.append(Chart(f"{template}-{number}", vega(template, recipe=name, **given), alt, name))
    return made


def _told(p: CurvePoint) -> str:
    forgotten = f", {100 * p.forgetting.value:.1f} points forgotten" if p.forgetting else ""
    return f"{100 * p.accuracy.value:.0f}% with {100 * p.share:g}% of the budget{forgotten}"
