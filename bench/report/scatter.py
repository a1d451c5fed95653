"""The picture beside the Markdown table: what was learned against what was forgotten."""

from __future__ import annotations

import json
import re
from typing import Any

from bench.analysis.columns import named
from bench.analysis.rows import Row
from bench.report.html import ASSETS
from bench.report.html.charts import points
from bench.system.files import write_atomically
from bench.system.location import Location

NAME = "learning-forgetting"
LIGHT = re.compile(r"--([\w-]+): light-dark\((#\w+),")
SIZE = {"width": 620, "height": 400, "background": "white"}
MOST_NAMES = 8
"""With more points than these, only those on the front are named."""
ROOM = (25.0, 5.0)
"""Names that are nearer to each other than this, in units of the axes, would overlap."""


def learning_against_forgetting(rows: list[Row], folder: Location) -> list[Location]:
    """Target accuracy over forgetting, one point per recipe, as SVG and PNG; nothing where
    forgetting was not measured.
    """
    import vl_convert

    x, y = named("forgetting"), named("target_accuracy")
    shown = points.points(rows, x, y)
    if len(shown) < 2:
        return []
    names = _names([p for p in shown if p["front"] or len(shown) <= MOST_NAMES], shown)
    drawn = in_light_colours(points.spec(shown, rows, x.axis, y.axis, names) | SIZE)
    svg, png = folder / f"{NAME}.svg", folder / f"{NAME}.png"
    write_atomically(svg, vl_convert.vegalite_to_svg(drawn))
    write_atomically(png, vl_convert.vegalite_to_png(drawn, scale=2))
    return [svg, png]


def _names(
    named_points: list[dict[str, Any]], shown: list[dict[str, Any]]
) -> list[tuple[bool, list[dict[str, Any]]]]:
    """Names on either side of the points, those to the left first: the page's labels need a
    browser.
    """
    middle = (min(p["x"] for p in shown) + max(p["x"] for p in shown)) / 2
    sides: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for point in sorted(named_points, key=lambda p: -p["y"]):
        placed = sides[point["x"] > middle]
        height = point["y"]
        for other in placed:
            near = abs(other["x"] - point["x"]) < ROOM[0] and abs(other["y"] - height) < ROOM[1]
            height = other["y"] - ROOM[1] if near else height
        placed.append({"recipe": point["recipe"], "x": point["x"], "y": height})
    return list(sides.items())


def in_light_colours(spec: dict[str, Any]) -> str:
    """A chart as JSON with a legend, and with the page's light theme in place of its CSS
    variables.
    """
    text = json.dumps(spec).replace('"legend": null', '"legend": {"title": "family"}')
    for name, colour in LIGHT.findall((ASSETS / "page.css").read_text(encoding="utf-8")):
        text = text.replace(f"var(--{name})", colour)
    return text
