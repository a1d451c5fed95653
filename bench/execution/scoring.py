"""Scores of what a run saved: some by vLLM where the suite says so, the others by transformers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.execution.environment import precision
from bench.execution.worker import Job
from bench.suite.plan import tasks
from bench.suite.schema import TRANSFORMERS
from bench.system.errors import Skipped

Scores = dict[str, list[Any]]
"""By task: one for each lm-eval task that it stands for."""


def opened(job: Job, artifact: Path) -> Any:
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


@dataclass(frozen=True)
class Served:
    """What another engine than transformers generated the answers of."""

    scores: Scores = field(default_factory=dict)
    lm: Any = None
    load_seconds: float = 0.0
    seconds: float = 0.0

    def with_others(
        self, lm: Any, job: Job, names: list[str], report: Callable[[float], None]
    ) -> Scores:
        """Of every task: these, and those of the model that transformers holds."""
        others = [name for name in names if name not in self.scores]
        found = self.scores | _scores(lm, job, others, report)
        return {name: found[name] for name in names}


def served_by_engine(job: Job, artifact: Path, names: list[str]) -> Served:
    """Scores of the tasks that ask for text, where the suite has vLLM generate. The server holds
    its memory for as long as it runs, so nothing else is loaded meanwhile.
    """
    from bench.evaluation.lm_eval import generates

    suite, asked = job.suite, []
    if suite.engine != TRANSFORMERS:
        split = job.run.split
        asked = [task.name for task in tasks(suite, names) if generates(task, split)]
    if not asked:
        return Served()
    import torch

    from bench.accounting import resources
    from bench.evaluation.served import ServedLM
    from bench.evaluation.vllm_server import serving
    from bench.models.load import load_tokenizer

    device, trusted = torch.device(job.device), suite.start().trust_remote_code
    folder, log = job.own("served"), job.own("vllm.log")
    try:
        with ExitStack() as server:
            with resources.stopwatch(device) as loading:
                tokenizer = load_tokenizer(suite.start())
                _save_merged(job, artifact, folder)
                tokenizer.save_pretrained(folder)
                dtype = precision(suite, job.device)
                answering = server.enter_context(serving(folder, dtype, device, trusted, log))
                lm = ServedLM(answering, folder, tokenizer, trusted)
            with resources.stopwatch(device) as scoring:
                scores = _scores(lm, job, asked, lambda _: None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Served(scores, lm, loading.seconds, scoring.seconds)


def _save_merged(job: Job, artifact: Path, folder: Path) -> None:
    """The base, or what was saved with its adapter merged, as plain weights."""
    from bench.accounting.resources import let_go
    from bench.models.artifact import CannotMerge, save_merged

    try:
        dtype = precision(job.suite, job.device)
        save_merged(opened(job, artifact), folder, dtype, job.suite.start())
    except CannotMerge as error:
        raise Skipped(str(error)) from error
    let_go()


def _scores(lm: Any, job: Job, names: list[str], report: Callable[[float], None]) -> Scores:
    from bench.evaluation.lm_eval import score

    found = {}
    for done, task in enumerate(tasks(job.suite, names)):
        found[task.name] = score(lm, task, job.run.split)
        report((done + 1) / len(names))
    return found
