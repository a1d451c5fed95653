"""One colour and one shape per family, the same in every report."""

from __future__ import annotations

from bench.analysis.rows import Row
from bench.cli.listing import FAMILIES
from bench.records.schema import BASE

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
"""Outlines within -1.2..1.2: for the points of pictures and for the legends beside them."""
UNKNOWN = "method"
"""What a row is called whose family nobody told."""


def family(row: Row) -> str:
    return BASE if row.recipe == BASE else row.family or UNKNOWN


def families(rows: list[Row]) -> list[str]:
    """Those that occur: the base, then the known ones in their order, then strangers'."""
    found = {family(row) for row in rows}
    order = [BASE, UNKNOWN, *FAMILIES]
    return [name for name in order if name in found] + sorted(found - set(order))


def place(name: str) -> int:
    """The number of a family's colour and shape; strangers share the last one."""
    return FAMILIES.index(name) if name in FAMILIES else 0 if name == UNKNOWN else len(FAMILIES) - 1


def colour(name: str) -> str:
    """A CSS variable, so that charts follow the page's theme by themselves."""
    return (
        "var(--ink)"
        if name == BASE
        else "var(--accent)"
        if name == UNKNOWN
        else f"var(--family-{place(name) + 1})"
    )


def shape(name: str) -> str:
    return RING if name == BASE else SHAPES[place(name)]
