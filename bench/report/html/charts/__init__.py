"""Charts as Vega-Lite: a template each in `templates/charts/`, filled with numbers; the page draws
them.

Colours are CSS variables, so that a chart follows the page's theme, and looks right on paper,
without being drawn anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from bench.report.template import filled

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
    choices: dict[str, Any] | None = None
    """The numbers behind it, where the reader chooses what its axes show."""


def vega(template: str, **given: Any) -> dict[str, Any]:
    """The specification that a template makes of what is given."""
    return json.loads(filled("bench.report.html", f"charts/{template}.json", **given))
