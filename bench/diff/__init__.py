"""Two results folders against each other: what changed beyond what other items and other seeds would change."""

from .compare import diff
from .shape import Change, Diff, RecipeDiff

__all__ = ["Change", "Diff", "RecipeDiff", "diff"]
