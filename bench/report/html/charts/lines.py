"""Learning curves: each recipe in its own small picture, all others in grey behind it."""

from __future__ import annotations

from typing import Any

from bench.analysis import CurvePoint
from bench.analysis.words import listed
from bench.report.html.charts import Chart, vega

DATA = "curve"
"""Name of the numbers that all the small pictures share."""


def points(curve: list[CurvePoint]) -> list[dict[str, Any]]:
    """Shares and accuracies in percent."""
    return [
        {
            "recipe": p.recipe,
            "share": 100 * p.share,
            "mean": 100 * p.mean,
            "low": 100 * p.low,
            "high": 100 * p.high,
            "text": f"{100 * p.mean:.1f}% ({100 * p.low:.1f}–{100 * p.high:.1f})",
        }
        for p in sorted(curve, key=lambda p: (p.recipe, p.share))
    ]


def curves(curve: list[CurvePoint]) -> list[Chart]:
    """One picture per recipe, in order of appearance."""
    shares = sorted({100 * p.share for p in curve})
    recipes = dict.fromkeys(p.recipe for p in curve)
    return [
        Chart(f"curve-{n}", vega("curve", recipe=name, shares=shares), _alt(name, curve), name)
        for n, name in enumerate(recipes)
    ]


def _alt(recipe: str, curve: list[CurvePoint]) -> str:
    steps = [
        f"{100 * p.mean:.0f}% with {100 * p.share:g}% of the budget"
        for p in sorted(curve, key=lambda p: p.share)
        if p.recipe == recipe
    ]
    return f"Learning curve of {recipe}: {listed(steps, 12)}."
