"""How numbers are written on the page."""

from __future__ import annotations

from collections.abc import Callable

PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def signed(text: str) -> str:
    """A true minus sign instead of a hyphen; no sign on a nothing."""
    text = text.replace("-", "−")
    return (
        text[1:]
        if text.startswith("−") and not any(digit in text for digit in "123456789")
        else text
    )


def span(low: float, high: float, write: Callable[[float], str]) -> str:
    """An interval; with a word between its ends where a dash would be read as a minus."""
    ends = signed(write(low)), signed(write(high))
    return " to ".join(ends) if low < 0 else "–".join(ends)


def general(value: float) -> str:
    """Four significant digits, whatever the size."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def short(value: float) -> str:
    """Three significant digits and a prefix: 817 G."""
    for size, prefix in PREFIXES:
        if abs(value) >= size:
            return f"{_three(value / size)} {prefix}"
    return _three(value)


def _three(value: float) -> str:
    return "0" if not value else f"{value:#.3g}".removesuffix(".")


def amount(value: float) -> str:
    """A budget as a person would write it."""
    return f"{value:,.10g}" if abs(value) < 1e9 else short(value)


def listed(names: list[str], most: int = 6) -> str:
    """A, B and C; the rest only counted."""
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return (
        names[0]
        if len(names) == 1
        else ", ".join(names[:-1]) + f" and {names[-1]}"
        if names
        else "none"
    )
