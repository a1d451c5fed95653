"""The first stage of a run: train its recipe on every target in turn, and save what came out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.execution.environment import count_parameters, environment, precision
from bench.execution.worker import Job
from bench.methods import registry
from bench.records.schema import Purpose
from bench.suite.plan import tasks

if TYPE_CHECKING:
    from bench.methods.session import Journal, Session
    from bench.models.spec import ModelSpec


def train(job: Job, tell: Callable[[float], None]) -> dict[str, Any]:
    """Train the run's recipe on every target in turn, and save what came out."""
    import torch

    from bench.accounting import resources
    from bench.accounting.ledger import Ledger
    from bench.methods.session import Journal
    from bench.models.artifact import save_artifact

    assert job.run.method is not None
    method = registry.usable(job.run.method).model_validate(job.run.parameters)
    device, dtype = torch.device(job.device), precision(job.suite, job.device)
    ledger = Ledger()
    scratch = job.work / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    with resources.memory(device) as memory, resources.stopwatch(device) as watch:
        journal = Journal(memory=memory)
        model, start = _over_targets(job, method, ledger, journal, scratch, tell)
    seconds = watch.seconds - journal.load_seconds - journal.aside_seconds
    counted = count_parameters(model)
    _check_finite(model)
    with resources.stopwatch(device) as saving:
        save_artifact(model, job.artifact, dtype, start, job.suite.start())
    shutil.rmtree(scratch)
    return {
        "seconds": {
            "load": journal.load_seconds,
            "measure": journal.aside_seconds,
            "train": seconds,
            "save": saving.seconds,
        },
        "memory": asdict(memory),
        "tokens_per_second": _speed(journal),
        "parameters": counted | {"trainable": journal.trainable},
        "artifact_bytes": sum(f.stat().st_size for f in job.artifact.rglob("*") if f.is_file()),
        "ledger": {
            "spent": ledger.totals() | {"seconds": seconds},
            "by_purpose": ledger.by_purpose(),
        },
        "loss": {"first": _mean(journal.losses[:5]), "last": _mean(journal.losses[-5:])},
        "objective": journal.objectives,
        "environment": environment(job),
    }


def _over_targets(
    job: Job,
    method: Any,
    ledger: Any,
    journal: Journal,
    scratch: Path,
    tell: Callable[[float], None],
) -> tuple[Any, ModelSpec]:
    """The model after the last target, and the start that its adapter, if it is one, belongs to."""
    from peft import PeftModel

    from bench.methods.composition import handed_on
    from bench.methods.recipe import apply
    from bench.models.artifact import save_artifact

    assert job.run.method is not None
    start, earlier, model = job.suite.start(), (), None
    for number in range(len(job.suite.target)):
        session = _session(
            job, number, start, earlier, ledger, journal, scratch / f"target-{number}", tell
        )
        model = apply(job.run.method, method, session)
        session.close()
        start = session.start
        if number + 1 < len(job.suite.target):
            if job.run.purpose is Purpose.ROW:
                with session.unmetered():
                    save_artifact(
                        model, job.after_stage(number + 1), session.dtype, start, job.suite.start()
                    )
            if isinstance(model, PeftModel):
                model.save_pretrained(str(session.folder / "adapter"))
                earlier = (*earlier, session.folder / "adapter")
            start = handed_on(model, session, "handed-on")
    return model, start


def _session(
    job: Job,
    number: int,
    start: ModelSpec,
    earlier: tuple[Path, ...],
    ledger: Any,
    journal: Journal,
    folder: Path,
    tell: Callable[[float], None],
) -> Session:
    import torch

    from bench.data.order import derive
    from bench.methods.session import Session
    from bench.models.load import load_tokenizer

    suite, run = job.suite, job.run
    folder.mkdir(parents=True)
    targets = tasks(suite, suite.target)
    held = [task for task in (*tasks(suite, suite.retain), *targets[:number]) if task.formats]
    return Session(
        task=targets[number],
        tokenizer=load_tokenizer(start),
        budget=suite.budget.budget().part(0, run.share / len(targets)),
        seed=derive(run.seed, f"method/{run.recipe}/{number}"),
        device=torch.device(job.device),
        dtype=precision(suite, job.device),
        folder=folder,
        batch_size=suite.batch.size,
        max_length=suite.batch.max_length,
        ledger=ledger,
        start=start,
        stage_name=targets[number].name if len(targets) > 1 else "",
        old=tuple(held),
        earlier=earlier,
        journal=journal,
        _data_seed=derive(run.seed, f"data/{number}"),
        _tell=lambda fraction: tell((number + fraction) / len(targets)),
    )


def _speed(journal: Journal) -> float | None:
    """Trained tokens per second over the steady steps of all stages; None when there were too few."""
    if not journal.speeds:
        return None
    tokens, seconds = (sum(values) for values in zip(*journal.speeds, strict=True))
    return tokens / seconds


def _check_finite(model: Any) -> None:
    from bench.methods.schedule import Diverged

    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise Diverged(f"{name} holds numbers that are not finite")


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
