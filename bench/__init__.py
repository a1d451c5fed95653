"""bench: a benchmark harness for fine-tuning methods. This is all that a method plugin needs to import."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import Skipped
    from .method import Choice, Format, LogRange, Merger, Method, Range, Weights
    from .schedule import Diverged
    from .session import Session

__all__ = ["Choice", "Diverged", "Format", "LogRange", "Merger", "Method", "Range", "Session", "Skipped", "Weights"]

_HOMES = {"Diverged": "schedule", "Session": "session", "Skipped": "errors"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: the command line must not wait for what it does not use."""
    if name not in __all__:
        raise AttributeError(f"module bench has no attribute {name}")
    return getattr(import_module(f".{_HOMES.get(name, 'method')}", __name__), name)
