"""Metrics of a sequence of tasks, computed from the scores on every task after every stage.

`scores[i][j]` is R[i][j], the score on task j after stage i; higher is better. Row 0 is before any
training, rows 1 to T are after each stage. Columns are the T tasks in training order. Metrics that
need two tasks are NaN for one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Scores = Sequence[Sequence[float]]


def average_accuracy(scores: Scores) -> float:
    """ACC = 1/T Σ_j R[T][j]: mean over tasks after the last stage (Lopez-Paz and Ranzato 2017, eq.
    2).
    """
    return _mean(scores[_stages(scores)])


def backward_transfer(scores: Scores) -> float:
    """BWT = 1/(T-1) Σ_{j<T} R[T][j] - R[j][j]: change of each task since it was trained (Lopez-Paz
    and Ranzato 2017, eq. 3).
    """
    last = _stages(scores)
    return _mean([scores[last][j - 1] - scores[j][j - 1] for j in range(1, last)])


def forward_transfer(scores: Scores, baseline: Sequence[float] | None = None) -> float:
    """FWT = 1/(T-1) Σ_{j>1} R[j-1][j] - b[j]: score on each task just before it is trained
    (Lopez-Paz and Ranzato 2017, eq. 4).

    `baseline` is b, in the paper the score at random initialization. The default is the zero-shot
    scores R[0], because a pre-trained model has no random initialization.
    """
    last = _stages(scores)
    start = scores[0] if baseline is None else baseline
    if len(start) != last:
        raise ValueError(f"expected a baseline for each of {last} tasks, not {len(start)}")
    return _mean([scores[j - 1][j - 1] - start[j - 1] for j in range(2, last + 1)])


def forgetting(scores: Scores) -> float:
    """F = 1/(T-1) Σ_{j<T} max_{1≤l<T} R[l][j] - R[T][j]: drop of each task from its best (Chaudhry
    et al. 2018, section 3).

    Negative if the earlier tasks score higher after the last stage than ever before.
    """
    last = _stages(scores)
    return _mean([max(row[j] for row in scores[1:last]) - scores[last][j] for j in range(last - 1)])


def trace_backward_transfer(scores: Scores) -> float:
    """BWT of TRACE (Wang et al. 2023): as `backward_transfer`, but divided by T; the last task
    contributes zero.
    """
    last = _stages(scores)
    return _mean([scores[last][j - 1] - scores[j][j - 1] for j in range(1, last + 1)])


def _stages(scores: Scores) -> int:
    stages = len(scores) - 1
    if stages < 1 or any(len(row) != stages for row in scores):
        raise ValueError(
            "expected T + 1 rows of T scores, the first from before training, not rows of"
            f" {[len(row) for row in scores]}"
        )
    return stages


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
