"""The pictures of the page over all results, as SVG: score against budget, the price of a point
gained, and what the seed and the learning rate do.
"""

from __future__ import annotations

import json
from typing import Any

from bench.analysis import CurvePoint
from bench.analysis.rows import Row
from bench.publish.dependence import Dependence
from bench.records.schema import BASE
from bench.report.html.charts import lines
from bench.report.scatter import in_light_colours
from bench.report.template import filled

SIZE = {"width": 520, "height": 300}
MOST_LINES = 12
"""Of recipes in one picture."""


def budget(curve: list[CurvePoint]) -> str:
    """Target accuracy by share of the budget; empty where no recipe was trained on shares."""
    return _on_shares("budget", curve)


def path(curve: list[CurvePoint]) -> str:
    """Forgetting by target accuracy, a line per recipe from share to share of the budget; empty
    where it was not measured.
    """
    return _on_shares("path", [point for point in curve if point.forgetting])


def _on_shares(template: str, curve: list[CurvePoint]) -> str:
    return _svg(template, SIZE, points=lines.points(curve)) if curve else ""


def price(rows: list[Row]) -> str:
    """Training time and peak memory over the points that a row gained on the base, for rows that
    gained for sure; the quickest first. Empty where there are fewer than two.
    """
    base = next((r.means["target_accuracy"] for r in rows if r.recipe == BASE and r.means), None)
    if base is None:
        return ""
    points = [
        {
            "recipe": row.recipe,
            "seconds": row.means["train_seconds"] / gained,
            "mebibytes": row.means["peak_train_bytes"] / 2**20 / gained,
        }
        for row in rows
        if row.gain
        and row.gain[0] > 0
        and {"train_seconds", "peak_train_bytes", "target_accuracy"} <= row.means.keys()
        and (gained := 100 * (row.means["target_accuracy"] - base)) > 0
    ]
    points.sort(key=lambda point: point["seconds"])
    return _svg("price", {}, points=points[:MOST_LINES]) if len(points) > 1 else ""


def seeds(found: Dependence) -> str:
    """One mark per run, the best recipes first."""
    names = list(dict.fromkeys(point.name for point in found.points))[:MOST_LINES]
    points = [point for point in _points(found) if point["name"] in names]
    return _svg("seeds", {"width": SIZE["width"]}, points=points)


def rates(found: Dependence, lines: bool) -> str:
    """One line per method, or points alone where more than the rate varies."""
    return _svg("rates", SIZE, points=_points(found), lines=lines)


def _points(found: Dependence) -> list[dict[str, Any]]:
    return [{"name": p.name, "at": p.at, "score": 100 * p.score} for p in found.points]


def _svg(template: str, size: dict[str, int], **given: Any) -> str:
    import vl_convert

    spec = json.loads(filled("bench.publish", f"charts/{template}.json", **given))
    return vl_convert.vegalite_to_svg(in_light_colours(spec | size | {"background": "white"}))
