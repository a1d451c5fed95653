"""Pictures as Vega-Lite, made by Altair; the page draws them.

Colours are CSS variables, so that a picture follows the page's theme, and looks right on paper, without being drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LABELS = {"expr": "width < 330 ? 104 : 230"}
"""How wide a recipe's name beside an axis may be, in pixels, on a phone and elsewhere."""


@dataclass(frozen=True)
class Chart:
    """One picture: its specification, and in words what it shows for those who do not see it."""

    id: str
    spec: dict[str, Any]
    alt: str
    title: str = ""
    """Shown above it, where it is one of many."""


def plain(chart: Any) -> dict[str, Any]:
    """The specification alone: Altair's own look and schema address left out, the page has its own look."""
    spec: dict[str, Any] = chart.to_dict(validate=True)
    for key in ("config", "$schema"):
        spec.pop(key, None)
    return spec
