"""Charts as Vega-Lite, made by Altair; the page draws them.

Colours are CSS variables, so that a chart follows the page's theme, and looks right on paper,
without being drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent.parent / "assets"
LABELS = "labels"
"""The parameter that says how wide a recipe's name beside an axis may be, in pixels: the page sets
it to fit the window.
"""
WIDE = 230
SQUARE = "M-1,-1H1V1H-1Z"


@dataclass(frozen=True)
class Key:
    """An entry of a legend."""

    name: str
    colour: str
    shape: str = SQUARE


@dataclass(frozen=True)
class Chart:
    """One chart: its specification, and in words what it shows for those who do not see it."""

    id: str
    spec: dict[str, Any]
    alt: str
    title: str = ""
    """Shown above it, where it is one of many."""
    legend: tuple[Key, ...] = ()


def plain(chart: Any) -> dict[str, Any]:
    """The specification alone: Altair's own look and schema address left out, the page has its own
    look.
    """
    spec: dict[str, Any] = chart.to_dict(validate=True)
    for key in ("config", "$schema"):
        spec.pop(key, None)
    return spec


def names() -> Any:
    """The axis of recipes: their names, cut where there is no room."""
    import altair as alt

    return alt.Axis(labelLimit=alt.ExprRef(LABELS), grid=False)


def limit() -> Any:
    """What `names` asks for."""
    import altair as alt

    return alt.param(name=LABELS, value=WIDE)
