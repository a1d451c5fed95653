"""From the records of one recipe to its row: each column's mean and spread over seeds, or the
reason why there is none.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable

from bench.accounting.budget import CURRENCIES
from bench.analysis.answers import Answers
from bench.analysis.rows import Objective, Row
from bench.records.schema import BASE, Record
from bench.records.stages import Charge, EvaluationStage, ObjectiveLook, TrainStage

UNPUBLISHED = "not published"
"""Why a number is missing that others did not publish."""
FORGETTING = ("forgetting", "items_lost", "items_gained")
TRAINED: dict[str, Callable[[TrainStage], float | None]] = {
    "peak_train_bytes": lambda stage: stage.memory.peak_bytes if stage.memory else None,
    "train_tokens_per_second": lambda stage: stage.tokens_per_second,
    "trainable_parameters": lambda stage: stage.parameters.trainable,
    "artifact_bytes": lambda stage: stage.artifact_bytes,
    "load_seconds": lambda stage: stage.seconds.load,
    "train_seconds": lambda stage: stage.seconds.train,
    "save_seconds": lambda stage: stage.seconds.save,
}
EVALUATED: dict[str, Callable[[EvaluationStage], float | None]] = {
    "peak_eval_bytes": lambda stage: stage.memory.peak_bytes if stage.memory else None,
    "total_parameters": lambda stage: stage.parameters.total,
    "eval_seconds": lambda stage: stage.seconds.evaluate,
}
COMPARED = (
    "train_tokens_per_second",
    "decode_tokens_per_second",
    "peak_train_bytes",
    "peak_eval_bytes",
    "train_seconds",
    "eval_seconds",
)
"""What may be compared between equal machines."""
Cells = dict[str, float | str]
"""By column: a number, or the reason why there is none."""


def row(recipe: str, records: list[Record], base: Record | None, answers: Answers) -> Row:
    """All that the records of one recipe say, one per seed."""
    fine, budget = [r for r in records if r.ok], records[0].budget
    made = Row(
        recipe,
        _status(records),
        next((r.reason for r in records if not r.ok), None),
        len(fine),
        (budget.currency, budget.amount) if budget else ("unknown", math.nan),
    )
    cells = [_cells(r, base, answers) for r in fine]
    for column in dict.fromkeys(c for own in cells for c in own):
        found = [float(v) for own in cells if not isinstance(v := own.get(column, ""), str)]
        if found:
            made.means[column] = statistics.fmean(found)
        if len(found) > 1:
            made.spreads[column] = statistics.stdev(found)
    made.missing[f"spent_{made.budget[0]}"] = made.status if budget else UNPUBLISHED
    for own in cells:
        made.missing |= {column: v for column, v in own.items() if isinstance(v, str)}
    made.ledger = _ledger(fine)
    made.objectives = _objectives([look for r in fine if r.train for look in r.train.objective])
    return made


def speeds(record: Record) -> dict[str, float]:
    """Speed, memory and seconds of a run, as far as the record says."""
    train, evaluation = record.train, record.evaluation
    found = {column: read(train) for column, read in TRAINED.items()} if train else {}
    if evaluation:
        found |= {column: read(evaluation) for column, read in EVALUATED.items()}
        found["decode_tokens_per_second"] = (
            evaluation.decode.tokens_per_second if evaluation.decode else None
        )
    return {column: value for column in COMPARED if (value := found.get(column))}


def _status(records: list[Record]) -> str:
    counts = Counter(str(record.status) for record in records)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{n} {status}" for status, n in counts.items())


def _ledger(records: list[Record]) -> dict[str, dict[str, float]]:
    """What was spent by purpose, a mean over seeds; a purpose that a seed did without counts as
    nothing there.
    """
    ledgers = [record.train.ledger.by_purpose if record.train else {} for record in records]
    nothing = Charge()
    return {
        purpose: {
            currency: (
                sum(getattr(own.get(purpose, nothing), currency) or 0.0 for own in ledgers)
                / len(ledgers)
            )
            for currency in Charge.model_fields
        }
        for purpose in dict.fromkeys(purpose for own in ledgers for purpose in own)
    }


def _objectives(looks: list[ObjectiveLook]) -> list[Objective]:
    """What each stage optimizes, a mean over seeds; a stage that was not measured is left out."""
    found: dict[tuple[str, str, str, str | None], list[tuple[float, float]]] = {}
    for look in looks:
        before, after = look.before.values, look.after.values
        for name in before.keys() & after.keys():
            better = look.better if name == look.goal else None
            key = (look.stage, look.method, name, better)
            found.setdefault(key, []).append((before[name], after[name]))
    return [
        Objective(*key, *(statistics.fmean(column) for column in zip(*pairs, strict=True)))
        for key, pairs in sorted(found.items(), key=str)
    ]


def _cells(record: Record, base: Record | None, answers: Answers) -> Cells:
    """Every column of a run that ended well."""
    assert record.evaluation is not None
    stage = record.evaluation
    return {
        "target_accuracy": statistics.fmean(record.scores[name].value for name in record.target),
        **_drift(record),
        **{column: _published(read(stage)) for column, read in EVALUATED.items()},
        "decode_tokens_per_second": _decoding(stage),
        **_forgotten(record, base, answers),
        **_trained(record),
    }


def _published(value: float | None) -> float | str:
    return UNPUBLISHED if value is None else value


def _drift(record: Record) -> Cells:
    change = record.evaluation.drift if record.evaluation else None
    if change is None:
        reason = UNPUBLISHED if record.imported else "no drift text"
        return {"drift_nll": reason, "drift_kl": reason}
    return {"drift_nll": _published(change.rise), "drift_kl": _published(change.kl)}


def _decoding(stage: EvaluationStage) -> float | str:
    if stage.decode is None:
        return UNPUBLISHED
    return stage.decode.tokens_per_second or "no generation"


def _forgotten(record: Record, base: Record | None, answers: Answers) -> Cells:
    """Accuracy lost against the base on each retained task, and items that flipped from right to
    wrong and from wrong to right.
    """
    if not record.retain or base is None:
        return dict.fromkeys(FORGETTING, "no base" if record.retain else "no retained tasks")
    columns: Cells = {}
    lost_all, gained_all, drops = 0, 0, []
    for task in record.retain:
        old, new = base.scores[task], record.scores[task]
        drop = (old.value - new.value) * (1 if new.higher_is_better else -1)
        columns |= {f"score[{task}]": new.value, f"forgetting[{task}]": drop}
        drops.append(drop)
        if (flips := answers.flipped(base, record, task)) is None:
            columns |= dict.fromkeys(FORGETTING[1:], "no items that are right or wrong")
        else:
            columns |= {f"items_lost[{task}]": flips.lost, f"items_gained[{task}]": flips.gained}
            lost_all, gained_all = lost_all + flips.lost, gained_all + flips.gained
    totals = statistics.fmean(drops), lost_all, gained_all
    return {**dict(zip(FORGETTING, totals, strict=True)), **columns}


def _trained(record: Record) -> Cells:
    spent_names = [f"spent_{currency}" for currency in CURRENCIES]
    stage = record.train
    if stage is None:
        others = record.imported and record.recipe != BASE
        return dict.fromkeys((*TRAINED, *spent_names), UNPUBLISHED if others else "not trained")
    cells = {column: _published(read(stage)) for column, read in TRAINED.items()}
    if stage.tokens_per_second is None and not record.imported:
        cells["train_tokens_per_second"] = "too few steps"
    spent = {f"spent_{c}": _published(getattr(stage.ledger.spent, c)) for c in CURRENCIES}
    return cells | spent
