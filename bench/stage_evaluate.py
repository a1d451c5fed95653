"""The second stage of a run, in a fresh process: load what was saved onto a fresh base, as a user would, and score it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from .plan import tasks
from .suite import Suite
from .worker import Job, count_parameters, environment, precision


def evaluate(job: Job, tell: Callable[[float], None]) -> dict[str, Any]:
    """Load what was saved onto a fresh base, as a user would, and score it."""
    import torch

    from . import meter, models
    from .evaluate import open_model, score

    suite = job.suite
    device = torch.device(job.device)
    with meter.memory(device) as memory:
        with meter.stopwatch(device) as loading:
            model = _reopened(job)
            tokenizer = models.load_tokenizer(suite.start())
        names = [*suite.target, *(n for n in suite.retain if n not in suite.target)]
        scores = {}
        with meter.stopwatch(device) as scoring:
            lm = open_model(model, tokenizer, suite.batch.size, device)
            for done, task in enumerate(tasks(suite, names)):
                scores[task.name] = score(lm, task, suite.split)
                tell((done + 1) / (len(names) + 1))
    _write_items(job, scores)
    with meter.stopwatch(device) as drifting:
        change = _drift(job, model, tokenizer, tell) if suite.drift else None
    return {
        "seconds": {"load": loading.seconds, "evaluate": scoring.seconds, "drift": drifting.seconds},
        "memory": asdict(memory),
        "scores": {name: _summary(group) for name, group in scores.items()},
        "drift": change,
        "decode": {"tokens": lm.generated_tokens, "seconds": lm.generation_seconds},
        "generation_config": lm.resolved,
        "parameters": count_parameters(model),
        "environment": environment(job),
    }


def _reopened(job: Job) -> Any:
    import torch

    from . import models

    start, device, dtype = job.suite.start(), torch.device(job.device), precision(job.suite, job.device)
    if job.run.method is None:
        return models.load_model(start, dtype, device)
    return models.open_artifact(job.artifact, start, dtype, device)


def _summary(group: list[Any]) -> dict[str, Any]:
    """A task's score: the mean over its items, or over its parts where lm-eval gives no items."""
    items = [value for part in group for value in part.items.values()]
    values = items or [part.value for part in group]
    return {
        "value": sum(values) / len(values),
        "metric": group[0].metric,
        "higher_is_better": group[0].higher_is_better,
        "items": len(items),
    }


def _write_items(job: Job, scores: dict[str, list[Any]]) -> None:
    import pandas as pd

    rows = [(name, part.task, i, value) for name, group in scores.items() for part in group for i, value in part.items.items()]
    frame = pd.DataFrame(rows, columns=["task", "part", "doc_id", "score"])
    frame.to_parquet(job.work / "items.parquet", index=False)


def _drift(job: Job, model: Any, tokenizer: Any, tell: Callable[[float], None]) -> dict[str, float]:
    import torch

    from . import models
    from .evaluate import drift

    suite = job.suite
    base = models.load_model(suite.start(), precision(suite, job.device), torch.device(job.device)).eval()
    rest = len(suite.target) + len(suite.retain)
    found = drift(base, model, _drift_texts(suite), tokenizer, suite.batch.max_length, lambda f: tell((rest + f) / (rest + 1)))
    return asdict(found)


def _drift_texts(suite: Suite) -> list[str]:
    from .data import find_task
    from .method import Format

    assert suite.drift is not None
    file = suite.folder / suite.drift
    if file.is_file():
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return list(find_task(suite.drift, suite.tasks, suite.folder).load(Format.LANGUAGE_MODELING, "validation")["text"])
