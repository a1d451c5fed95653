"""Intervals, paired tests and ties: what may be said of differences between methods, given items and seeds that vary."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Two recipes compared on the same items: one minus the other."""

    one: str
    other: str
    difference: float
    low: float
    high: float
    """Bounds of the confidence interval of this one difference."""
    p: float
    adjusted: float
    """p after Holm's correction for all pairs of the group."""
