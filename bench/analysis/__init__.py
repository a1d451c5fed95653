"""Records understood: rows that may be compared, what may be said of their differences, and where
not to trust it.

One way in: `find(store)`.
"""

from bench.analysis.find import find
from bench.analysis.shape import CurvePoint, Findings, Group, Sequence, Trial

__all__ = ["CurvePoint", "Findings", "Group", "Sequence", "Trial", "find"]
