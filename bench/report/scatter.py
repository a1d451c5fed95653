"""The picture beside the Markdown table: what was learned against what was forgotten."""

from __future__ import annotations

import json
import re
from itertools import product
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
LETTER, LINE, MARK, MARGIN = 5.5, 13.0, 7.0, 24
"""Pixels: width of a letter, height of a line, half a point with its gap, the axes' padding."""
Box = tuple[float, float, float]
"""Where something begins and ends, and its height, in pixels."""
LINES = [way * (n + 0.5) for n in range(9) for way in (1, -1)]
"""How many lines above a point its name may be; at none, the point's interval would cross it."""


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
    """Names to the left of their points and to the right, in this order. Each is as near to its
    point as it covers no other point and no name. The page's labels need a browser.
    """
    (x, left_end, right_end), (y, *_) = _pixels(shown, "x", "width"), _pixels(shown, "y", "height")
    taken = [(p["x"] / x - MARK, p["x"] / x + MARK, p["y"] / y) for p in shown]
    sides: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for point in sorted(named_points, key=lambda p: -p["y"]):
        width, middle = LETTER * len(point["recipe"]), point["x"] / x
        starts = {False: middle + MARK, True: middle - MARK - width}
        inside = [left for left, at in starts.items() if left_end < at < right_end - width]
        tried = [
            (starts[left], starts[left] + width, point["y"] / y + lines * LINE, left)
            for lines, left in product(LINES, inside or [False])
        ]
        start, end, at, left = next((one for one in tried if _free(*one[:3], taken)), tried[0])
        taken.append((start, end, at))
        sides[left].append(point | {"y": at * y})
    return list(sides.items())


def _free(start: float, end: float, at: float, taken: list[Box]) -> bool:
    return all(b <= start or end <= a or abs(c - at) >= LINE for a, b, c in taken)


def _pixels(shown: list[dict[str, Any]], axis: str, length: str) -> tuple[float, float, float]:
    """How much of an axis a pixel is, and where the axis begins and ends, in pixels."""
    low, high = min(p[f"{axis}1"] for p in shown), max(p[f"{axis}2"] for p in shown)
    pixel = (high - low) / (SIZE[length] - 2 * MARGIN) or 1.0
    return pixel, low / pixel - MARGIN, high / pixel + MARGIN


def in_light_colours(spec: dict[str, Any]) -> str:
    """A chart as JSON with a legend, and with the page's light theme in place of its CSS
    variables.
    """
    text = json.dumps(spec).replace('"legend": null', '"legend": {"title": "family"}')
    for name, colour in LIGHT.findall((ASSETS / "page.css").read_text(encoding="utf-8")):
        text = text.replace(f"var(--{name})", colour)
    return text
