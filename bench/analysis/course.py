"""What happened on the way: trials of a search, shares of the budget, and targets in a row."""

from __future__ import annotations

import statistics
from collections.abc import Sequence as List

from bench.accounting.budget import CURRENCIES
from bench.analysis.answers import Answers
from bench.analysis.groups import group, grouped, rows_of
from bench.analysis.rows import Row
from bench.analysis.shape import CurvePoint, Sequence, Trial
from bench.analysis.statistics import Estimate
from bench.metrics.continual_learning.sequence import (
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
)
from bench.records.schema import BASE, Purpose, Record

METRICS = (average_accuracy, backward_transfer, forward_transfer, forgetting)


def trials(records: List[Record]) -> list[Trial]:
    """Every draw of every recipe, as the records tell; the chosen one is that whose
    hyper-parameters a tuned row has.
    """
    chosen = {(r.tuned_from, r.trial) for r in records if r.tuned_from}
    tried = [r for r in records if r.purpose is Purpose.TRIAL]
    return [
        Trial(
            recipe=r.recipe,
            number=r.trial or 0,
            drawn=r.drawn or {},
            status=r.status,
            score=r.target_score if r.ok else None,
            chosen=(r.recipe, r.trial) in chosen,
        )
        for r in sorted(tried, key=lambda r: (r.recipe, r.trial or 0))
    ]


def charge_tuning(rows: List[Row], records: List[Record]) -> None:
    """What a search cost, on a line of its own in the ledger of the row that came of it."""
    tried: dict[str | None, list[Record]] = {}
    for r in records:
        if r.purpose is Purpose.TRIAL:
            tried.setdefault(r.recipe, []).append(r)
    for row in rows:
        own = tried.get(row.tuned_from, [])
        spent = [r.train.ledger.spent for r in own if r.train]
        if spent:
            row.ledger["tuning"] = {
                currency: sum(getattr(s, currency) or 0.0 for s in spent) for currency in CURRENCIES
            }
            row.means |= {"tuning_trials": float(len(own))} | {
                f"tuning_{c}": v for c, v in row.ledger["tuning"].items()
            }


def curve(records: List[Record], answers: Answers, level: float) -> list[CurvePoint]:
    """What was learned and forgotten by share of the budget, the whole of it included, for every
    recipe that was trained on shares: each share is a table like that of the whole.
    """
    asked = {r.recipe for r in records if r.purpose is Purpose.CURVE}
    base = [r for r in records if r.recipe == BASE]
    own = [r for r in records if r.recipe in asked and r.purpose is not Purpose.TRIAL]
    points: dict[tuple[str, float], CurvePoint] = {}
    for part in grouped(own, together=False):  # a share has a comparison key of its own
        for row in group(rows_of([*base, *part], answers), answers, level, "").rows:
            if row.recipe in asked and (learned := _estimate(row, "target_accuracy")):
                share, kept = part[0].share, _estimate(row, "forgetting")
                points.setdefault((row.recipe, share), CurvePoint(row.recipe, share, learned, kept))
    return [point for _, point in sorted(points.items())]


def _estimate(row: Row, column: str) -> Estimate | None:
    bounds = row.intervals.get(column)
    return Estimate(row.means[column], *bounds) if bounds else None


def sequences(records: List[Record]) -> list[Sequence]:
    """R[i][j] and what follows from it, for every recipe that learned several targets in a row."""
    base = next((r for r in records if r.recipe == BASE and r.ok), None)
    if base is None or len(base.target) < 2:
        return []
    recipes: dict[str, list[Record]] = {}
    for r in records:
        if r.evaluation and r.evaluation.earlier_scores:
            recipes.setdefault(r.recipe, []).append(r)
    return [_sequence(recipe, own, base) for recipe, own in recipes.items()]


def _sequence(recipe: str, records: list[Record], base: Record) -> Sequence:
    targets = base.target
    tasks = list(dict.fromkeys((*targets, *base.retain)))
    matrices = [_matrix(record, base, tasks) for record in records]
    mean = [
        [statistics.fmean(cells) for cells in zip(*rows, strict=True)]
        for rows in zip(*matrices, strict=True)
    ]
    on_targets = [[row[: len(targets)] for row in matrix] for matrix in matrices]
    metrics = {
        metric.__name__: statistics.fmean(metric(matrix) for matrix in on_targets)
        for metric in METRICS
    }
    return Sequence(recipe, tasks, mean, metrics)


def _matrix(record: Record, base: Record, tasks: list[str]) -> list[list[float]]:
    earlier = record.evaluation.earlier_scores if record.evaluation else []
    stages = [base.scores, *earlier, record.scores]
    return [[scores[task].value for task in tasks] for scores in stages]
