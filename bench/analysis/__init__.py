"""From records to conclusions: comparable groups, statistics, tie groups and caveats.

One way in: `analyze(store)`.
"""

from bench.analysis.analyze import analyze
from bench.analysis.shape import Analysis, CurvePoint, Group, Sequence, Trial

__all__ = ["Analysis", "CurvePoint", "Group", "Sequence", "Trial", "analyze"]
