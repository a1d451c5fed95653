"""The second stage of a run, in a fresh process: load what was saved onto a fresh base, as a user
would, and score it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.execution.environment import count_parameters, environment, precision
from bench.execution.worker import Job
from bench.records.schema import Purpose
from bench.suite.plan import drift_texts, tasks
from bench.suite.schema import TRANSFORMERS
from bench.system.errors import Skipped


def evaluate(job: Job, report: Callable[[float], None]) -> dict[str, Any]:
    """Load what was saved onto a fresh base, as a user would, and score it."""
    import torch

    from bench.accounting import resources
    from bench.evaluation.agreement import agree
    from bench.evaluation.lm_eval import open_model
    from bench.models.load import load_tokenizer

    suite, run = job.suite, job.run
    device = torch.device(job.device)
    whole, trained = run.purpose is Purpose.ROW, run.method is not None
    names = suite.scored if whole else list(dict.fromkeys(suite.target))
    stages = len(suite.target) if whole and trained else 1
    tokenizer = load_tokenizer(suite.start())
    served = _served(job, job.artifact, names, tokenizer)
    with resources.memory(device) as memory:
        with resources.stopwatch(device) as loading:
            model = _opened(job, job.artifact)
        agreement = (
            agree(model, job.work, precision(suite, job.device), device) if trained else None
        )
        with resources.stopwatch(device) as scoring:
            lm = open_model(model, tokenizer, suite.batch.answered_at_once, device)
            rest = [name for name in names if name not in served.scores]
            scores = _scores(lm, job, rest, lambda fraction: report(fraction / (stages + 1)))
    scores = {name: (served.scores | scores)[name] for name in names}
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
            "engine": generator.engine,
        },
        "generation_config": generator.resolved,
        "parameters": count_parameters(model),
        "environment": environment(job),
    }


@dataclass(frozen=True)
class _Served:
    """What another engine than transformers generated the answers of."""

    scores: dict[str, list[Any]] = field(default_factory=dict)
    lm: Any = None
    load_seconds: float = 0.0
    seconds: float = 0.0


def _served(job: Job, artifact: Path, names: list[str], tokenizer: Any) -> _Served:
    """Scores of the tasks that ask for text, where the suite has vLLM generate. The server holds
    its memory for as long as it runs, so nothing else is loaded meanwhile.
    """
    from bench.evaluation.lm_eval import generates

    suite, asked = job.suite, []
    if suite.engine != TRANSFORMERS:
        split = job.run.split
        asked = [task.name for task in tasks(suite, names) if generates(task, split)]
    if not asked:
        return _Served()
    import torch

    from bench.accounting import resources
    from bench.evaluation.served import ServedLM
    from bench.evaluation.vllm_server import serving

    device, trusted = torch.device(job.device), suite.start().trust_remote_code
    folder, log = job.own("served"), job.own("vllm.log")
    try:
        with ExitStack() as server:
            with resources.stopwatch(device) as loading:
                _save_merged(job, artifact, folder, tokenizer)
                dtype = precision(suite, job.device)
                answering = server.enter_context(serving(folder, dtype, device, trusted, log))
                lm = ServedLM(answering, folder, tokenizer, trusted)
            with resources.stopwatch(device) as scoring:
                scores = _scores(lm, job, asked, lambda _: None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _Served(scores, lm, loading.seconds, scoring.seconds)


def _save_merged(job: Job, artifact: Path, folder: Path, tokenizer: Any) -> None:
    """The base, or what was saved with its adapter merged, as plain weights beside a tokenizer."""
    from bench.accounting.resources import let_go
    from bench.models.artifact import CannotMerge, is_plain, save_merged

    if job.run.method is not None and not is_plain(artifact):
        raise Skipped("vllm takes weights alone, and this method adds modules of its own")
    try:
        dtype = precision(job.suite, job.device)
        save_merged(_opened(job, artifact), folder, dtype, job.suite.start())
    except CannotMerge as error:
        raise Skipped(str(error)) from error
    let_go()
    tokenizer.save_pretrained(folder)


def _scores(
    lm: Any, job: Job, names: list[str], report: Callable[[float], None]
) -> dict[str, list[Any]]:
    from bench.evaluation.lm_eval import score

    found = {}
    for done, task in enumerate(tasks(job.suite, names)):
        found[task.name] = score(lm, task, job.run.split)
        report((done + 1) / len(names))
    return found


def _after_stage(job: Job, number: int, names: list[str], tokenizer: Any) -> dict[str, Any]:
    """Scores of what came out of an earlier target of a sequence."""
    import torch

    from bench.evaluation.lm_eval import open_model

    artifact = job.after_stage(number)
    served = _served(job, artifact, names, tokenizer).scores
    lm = open_model(
        _opened(job, artifact),
        tokenizer,
        job.suite.batch.answered_at_once,
        torch.device(job.device),
    )
    rest = [name for name in names if name not in served]
    scores = served | _scores(lm, job, rest, lambda _: None)
    return {name: _summary(scores[name]) for name in names}


def _opened(job: Job, artifact: Path) -> Any:
    """The base, or what was saved on a fresh base, computing in the precision of the training."""
    import torch

    from bench.methods.artifact import own_loader
    from bench.models.artifact import open_artifact
    from bench.models.precision import compute_in
    from bench.models.sharding import placed
    from bench.models.start import Start, load_start

    start, dtype = job.suite.start(), precision(job.suite, job.device)
    device = torch.device(job.device)
    if job.run.method is not None:
        return placed(lambda on: open_artifact(artifact, start, dtype, on, own_loader), device)
    base = placed(lambda on: load_start(Start(start), dtype, on), device)
    compute_in(base, dtype)
    return base


def _summary(group: list[Any]) -> dict[str, Any]:
    """A task's score: the mean over its items, or over its parts where it is no mean of items."""
    every = all(part.items for part in group)
    items = [value for part in group for value in part.items.values()] if every else []
    values = items or [part.value for part in group]
    return {
        "value": sum(values) / len(values),
        "metric": group[0].metric,
        "higher_is_better": group[0].higher_is_better,
        "items": len(items),
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
