"""Two samples that are compared."""

from __future__ import annotations

from typing import Any, NamedTuple


class Match(NamedTuple):
    """Two samples of one prompt."""

    prompt: Any
    winner: str
    loser: str
    best: str
    """The best of all samples of the prompt."""
