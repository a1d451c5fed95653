"""How numbers and lists are written, in every table, sentence and chart."""

from __future__ import annotations

from collections.abc import Sequence

PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(value: float) -> str:
    """A share as percent, or a difference of shares as points."""
    return f"{100 * value:.1f}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def mebibytes(value: float) -> str:
    return f"{value / 2**20:,.0f}" if value >= 100 * 2**20 else f"{value / 2**20:,.2f}"


def general(value: float) -> str:
    """Four significant digits, whatever the size."""
    return whole(value) if abs(value) >= 1000 else f"{value:.4g}"


def short(value: float) -> str:
    """Three significant digits and a prefix: 817 G."""
    size, prefix = next((p for p in PREFIXES if abs(value) >= p[0]), (1.0, ""))
    digits = "0" if not value else f"{value / size:#.3g}".removesuffix(".")
    return f"{digits} {prefix}".rstrip()


def amount(value: float) -> str:
    """A budget as a person would write it."""
    return f"{value:,.10g}" if abs(value) < 1e9 else short(value)


def minus(text: str) -> str:
    """With the sign of subtraction, and none before a zero."""
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "−")


def signed(value: float) -> str:
    """A difference of shares in points, with its sign: +1.2, −0.3, ±0."""
    text = f"{100 * value:+.1f}"
    return "±0" if not text.strip("+-0.") else minus(text)


def listed(names: Sequence[str], most: int | None = None) -> str:
    """A, B and C; beyond `most` names the rest is only counted."""
    if most and len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1] if names else "none")))
