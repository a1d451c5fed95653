"""One colour and one shape per family, the same in every report."""

from __future__ import annotations

from bench.analysis.rows import Row
from bench.records.schema import BASE

FAMILIES = (
    "supervised",
    "pre-training",
    "parameter-efficient",
    "preference",
    "reinforcement",
    "continual",
    "merging",
    "recipe",
    "other",
)
CIRCLE = "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z"
RING = CIRCLE + "M-.5,0A.5,.5,0,1,0,.5,0A.5,.5,0,1,0,-.5,0Z"
SHAPES = (
    CIRCLE,
    "M-.9,-.9H.9V.9H-.9Z",
    "M0,-1.05L1.05,.85H-1.05Z",
    "M0,-1.2L1.2,0L0,1.2L-1.2,0Z",
    "M-.4,-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "M0,1.05L1.05,-.85H-1.05Z",
    "M1.05,0L-.85,1.05V-1.05Z",
    "M-1.05,0L.85,1.05V-1.05Z",
    "M-1.1,-.45H1.1V.45H-1.1Z",
)
"""Outlines within -1.2..1.2: for the points of charts and for the legends beside them."""
UNKNOWN = "method"
"""The family of a row whose record names none."""


def family(row: Row) -> str:
    return BASE if row.recipe == BASE else row.family or UNKNOWN


def families(rows: list[Row]) -> list[str]:
    """Those that occur: the base, then the known ones in their order, then those of plugins."""
    found = {family(row) for row in rows}
    order = [BASE, UNKNOWN, *FAMILIES]
    return [name for name in order if name in found] + sorted(found - set(order))


def colour(name: str) -> str:
    """A CSS variable, so that charts follow the page's theme by themselves."""
    special = {BASE: "var(--ink)", UNKNOWN: "var(--accent)"}
    return special.get(name) or f"var(--family-{_place(name) + 1})"


def colour_of(row: Row) -> str:
    return colour(family(row))


def shape(name: str) -> str:
    return {BASE: RING, UNKNOWN: CIRCLE}.get(name) or SHAPES[_place(name)]


def _place(name: str) -> int:
    """The number of a family's colour and shape; families of plugins share the last one."""
    return FAMILIES.index(name) if name in FAMILIES else len(FAMILIES) - 1
