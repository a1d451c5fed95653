"""Two results folders against each other: what changed beyond what other items and other seeds
would change.
"""

from bench.analysis.diff.compare import diff
from bench.analysis.diff.shape import Change, Diff, RecipeDiff

__all__ = ["Change", "Diff", "RecipeDiff", "diff"]
