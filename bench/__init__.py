"""bench: a benchmark harness for fine-tuning methods. This is all that a method plugin needs to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .method import Choice, Format, LogRange, Method, Range

if TYPE_CHECKING:
    from .session import Diverged, Session

__all__ = ["Choice", "Diverged", "Format", "LogRange", "Method", "Range", "Session"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when somebody asks for it."""
    if name in ("Diverged", "Session"):
        from . import session

        return getattr(session, name)
    raise AttributeError(f"module bench has no attribute {name}")
