"""The first stage of a run: train the method on every target in turn, and save what came out."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import registry
from .budget import Budget
from .plan import Run, tasks
from .worker import Job, Skipped, count_parameters, environment, precision


def train(job: Job, tell: Callable[[float], None]) -> dict[str, Any]:
    """Train the run's method on every target in turn, and save what came out."""
    import torch

    from . import meter, models
    from .ledger import Ledger

    suite, run = job.suite, job.run
    device, dtype = torch.device(job.device), precision(suite, job.device)
    method = _method(run)
    ledger = Ledger()
    start = suite.start()
    sessions: list[Any] = []
    model: Any = None
    with meter.memory(device) as memory, meter.stopwatch(device) as watch:
        targets = tasks(suite, suite.target)
        for number, task in enumerate(targets):
            session = _session(job, number, start, suite.budget.budget().share(len(targets)), ledger, tell)
            missing = [f for f in method.formats if f not in task.formats]
            if missing:
                raise Skipped(f"{task.name} has no {', '.join(missing)} data")
            if reason := method.skip(session):
                raise Skipped(reason)
            torch.manual_seed(session.seed)
            random.seed(session.seed)
            model = method.train(session)
            session.close()
            sessions.append(session)
            if number + 1 < len(targets):
                start = models.ModelSpec(path=_handed_on(model, job.work / f"stage-{number}", dtype), tokenizer=start.tokenizer_location)
    load_seconds = sum(s.load_seconds for s in sessions)
    spent = ledger.totals() | {"seconds": watch.seconds - load_seconds}
    parameters = count_parameters(model)
    _check_finite(model)
    with meter.stopwatch(device) as saving:
        _save(model, job.artifact, dtype)
    losses = [loss for s in sessions for loss in s.losses]
    return {
        "seconds": {"load": load_seconds, "train": watch.seconds - load_seconds, "save": saving.seconds},
        "memory": asdict(memory),
        "tokens_per_second": sessions[-1].tokens_per_second(),
        "parameters": parameters,
        "artifact_bytes": sum(f.stat().st_size for f in job.artifact.rglob("*") if f.is_file()),
        "ledger": {"spent": spent, "by_purpose": ledger.by_purpose()},
        "loss": {"first": _mean(losses[:5]), "last": _mean(losses[-5:])},
        "environment": environment(job),
    }


def _method(run: Run) -> Any:
    assert run.method is not None
    plugin = registry.find(run.method)
    if plugin.method is None:
        raise Skipped(f"{run.method} of {plugin.origin} cannot be used: {plugin.problem}")
    return plugin.method.model_validate(run.parameters)


def _session(job: Job, number: int, start: Any, budget: Budget, ledger: Any, tell: Callable[[float], None]) -> Any:
    import torch

    from . import models
    from .session import Session, derive

    suite, run = job.suite, job.run
    device, dtype = torch.device(job.device), precision(suite, job.device)
    scratch = job.work / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return Session(
        task=tasks(suite, suite.target)[number],
        tokenizer=models.load_tokenizer(start),
        budget=budget,
        seed=derive(run.seed, f"method/{run.recipe}/{number}"),
        device=device,
        dtype=dtype,
        folder=scratch,
        batch_size=suite.batch.size,
        max_length=suite.batch.max_length,
        ledger=ledger,
        _load=lambda: models.load_model(start, dtype, device),
        _data_seed=derive(run.seed, f"data/{number}"),
        _tell=lambda fraction: tell((number + fraction) / len(suite.target)),
    )


def _handed_on(model: Any, folder: Path, dtype: Any) -> str:
    """The trained model as the start of the next target: adapters become part of the weights."""
    from peft import PeftModel

    if isinstance(model, PeftModel):
        if not hasattr(model.base_model, "merge_and_unload"):
            raise Skipped(f"{type(model.active_peft_config).__name__} cannot be merged into its base, so no target can follow another")
        model = model.merge_and_unload()
    _save(model, folder, dtype)
    return str(folder)


def _save(model: Any, folder: Path, dtype: Any) -> None:
    """Safetensors only: an adapter as PEFT saves it, or all weights in the suite's precision."""
    from peft import PeftModel

    shutil.rmtree(folder, ignore_errors=True)
    if not isinstance(model, PeftModel):
        model = model.to(dtype)
    model.save_pretrained(str(folder))


def _check_finite(model: Any) -> None:
    from .session import Diverged

    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise Diverged(f"{name} holds numbers that are not finite")


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
