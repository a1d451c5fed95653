"""Whether passes compute anew what they computed before: whoever saves memory says so, and whoever
charges passes asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_again = ContextVar("again", default=False)


@contextmanager
def computed_again() -> Iterator[None]:
    """Charge no head in here: a backward pass computes anew what was charged before. What a run
    spends does not depend on how it saves memory.
    """
    token = _again.set(True)
    try:
        yield
    finally:
        _again.reset(token)


def is_computed_again() -> bool:
    """Whether this is within `computed_again`."""
    return _again.get()
