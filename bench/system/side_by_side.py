"""Texts that stand side by side in the rows of a pass: whoever puts them there says how long they
are, and whoever charges passes asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_lengths: ContextVar[Tensor | None] = ContextVar("lengths", default=None)


@contextmanager
def side_by_side(lengths: Tensor) -> Iterator[None]:
    """Every pass in here has texts of so many tokens, (texts,), and is charged for these alone."""
    token = _lengths.set(lengths)
    try:
        yield
    finally:
        _lengths.reset(token)


def lengths_side_by_side() -> Tensor | None:
    """Tokens of each text, (texts,); None where every text has a row of its own."""
    return _lengths.get()
