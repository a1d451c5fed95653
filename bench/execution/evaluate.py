"""The second stage of a run, in a fresh process: load what was saved onto a fresh base, as a user
would, and score it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from bench.execution.environment import count_parameters, environment, precision
from bench.execution.scoring import opened, served_by_engine
from bench.execution.worker import Job
from bench.records.schema import Purpose
from bench.suite.plan import drift_texts, tasks


def evaluate(job: Job, report: Callable[[float], None]) -> dict[str, Any]:
    """Load what was saved onto a fresh base, as a user would, and score it."""
    import torch

    from bench.accounting import resources
    from bench.evaluation.agreement import agree
    from bench.evaluation.lm_eval import open_model
    from bench.models.load import load_tokenizer

    suite, run = job.suite, job.run
    device = torch.device(job.device)
    whole, trained = run.purpose is not Purpose.TRIAL, run.method is not None
    names = suite.scored if whole else list(dict.fromkeys(suite.target))
    stages = len(suite.target) if run.purpose is Purpose.ROW and trained else 1
    served = served_by_engine(job, job.artifact, names)
    with resources.memory(device) as memory:
        with resources.stopwatch(device) as loading:
            model = opened(job, job.artifact)
            tokenizer = load_tokenizer(suite.start())
        agreement = (
            agree(model, job.work, precision(suite, job.device), device) if trained else None
        )
        with resources.stopwatch(device) as scoring:
            lm = open_model(model, tokenizer, suite.batch.answered_at_once, device)
            scores = served.with_others(
                lm, job, names, lambda fraction: report(fraction / (stages + 1))
            )
    generator = served.lm or lm
    _write_items(job, scores)
    with resources.stopwatch(device) as drifting:
        change = (
            _drift(job, model, tokenizer, lambda fraction: report((1 + fraction) / (stages + 1)))
            if whole and suite.drift
            else None
        )
    with resources.stopwatch(device) as looking_back:
        earlier = [_after_stage(job, number, names, tokenizer) for number in range(1, stages)]
    return {
        "seconds": {
            "load": served.load_seconds + loading.seconds,
            "evaluate": served.seconds + scoring.seconds,
            "drift": drifting.seconds,
            "earlier": looking_back.seconds,
        },
        "memory": asdict(memory),
        "scores": {name: _summary(group) for name, group in scores.items()},
        "earlier_scores": earlier,
        "drift": change,
        "agreement": agreement,
        "decode": {
            "tokens": generator.generated_tokens,
            "seconds": generator.generation_seconds,
            "answers": generator.answers,
            "engine": generator.engine,
        },
        "generation_config": generator.resolved,
        "parameters": count_parameters(model),
        "environment": environment(job),
    }


def _after_stage(job: Job, number: int, names: list[str], tokenizer: Any) -> dict[str, Any]:
    """Scores of what came out of an earlier target of a sequence."""
    import torch

    from bench.evaluation.lm_eval import open_model

    artifact = job.after_stage(number)
    served = served_by_engine(job, artifact, names)
    lm = open_model(
        opened(job, artifact), tokenizer, job.suite.batch.answered_at_once, torch.device(job.device)
    )
    scores = served.with_others(lm, job, names, lambda _: None)
    return {name: _summary(group) for name, group in scores.items()}


def _summary(group: list[Any]) -> dict[str, Any]:
    """A task's score: the mean over its items, or over its parts where it is no mean of items."""
    every = all(part.items for part in group)
    items = [value for part in group for value in part.items.values()] if every else []
    values = items or [part.value for part in group]
    source = group[0].source
    return {
        "value": sum(values) / len(values),
        "metric": group[0].metric,
        "higher_is_better": group[0].higher_is_better,
        "items": len(items),
        "source": source if all(part.source == source for part in group) else None,
    }


def _write_items(job: Job, scores: dict[str, list[Any]]) -> None:
    import pandas as pd

    rows = [
        (name, part.task, i, value)
        for name, group in scores.items()
        for part in group
        for i, value in part.items.items()
    ]
    frame = pd.DataFrame(rows, columns=["task", "part", "doc_id", "score"])
    frame.to_parquet(job.own("items.parquet"), index=False)


def _drift(
    job: Job, model: Any, tokenizer: Any, report: Callable[[float], None]
) -> dict[str, float | int | None]:
    """Change of the predictions on the suite's plain text, and the divergence on its targets."""
    import torch

    from bench.evaluation.drift import drift, drift_of_rows
    from bench.models.load import load_model
    from bench.models.sharding import placed
    from bench.models.start import folder_of_start

    suite, dtype, device = job.suite, precision(job.suite, job.device), torch.device(job.device)
    base = placed(lambda on: load_model(suite.start(), dtype, on), device).eval()
    known = folder_of_start(suite.start(), dtype, device)
    length = suite.batch.max_length
    found = drift(base, model, drift_texts(suite), tokenizer, length, report, known)
    rows = _target_rows(job, tokenizer)
    on_target = drift_of_rows(base, model, rows, tokenizer, lambda _: None, known) if rows else None
    return asdict(found) | {
        "target_kl": on_target and on_target.kl,
        "target_tokens": on_target and on_target.tokens,
    }


def _target_rows(job: Job, tokenizer: Any) -> list[Any]:
    """The first validation rows of the targets, as many of each."""
    from bench.evaluation.agreement import first_rows
    from bench.evaluation.drift import TARGET_ROWS

    targets = tasks(job.suite, list(dict.fromkeys(job.suite.target)))
    each, length = max(1, TARGET_ROWS // len(targets)), job.suite.batch.max_length
    return [
        row
        for task in targets
        if task.formats
        for row in first_rows(task, "validation", each, tokenizer, length)
    ]
