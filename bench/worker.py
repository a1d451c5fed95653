"""One run, in processes of its own: train and save in the first, load and evaluate in a fresh second."""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from . import registry
from .budget import Budget
from .plan import Run, tasks
from .store import write_atomically
from .suite import Suite

LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets", "lm-eval", "accelerate", "tokenizers")


class Skipped(Exception):
    """The method cannot run here; the reason is the message."""


@dataclass(frozen=True)
class Job:
    """What a worker is told."""

    suite: Suite
    suite_folder: Path
    run: Run
    device: str
    work: Path

    @property
    def artifact(self) -> Path:
        return self.work / "artifact"


class Stage(Protocol):
    def __call__(self, job: Job, tell: Callable[[float], None]) -> dict[str, Any]: ...


def work(stage: Stage, name: str, job: Job, channel: Connection) -> None:
    """Run one stage and leave its outcome in `<stage>.json`; its output goes to `log.txt`. The body of a worker process."""
    job.work.mkdir(parents=True, exist_ok=True)
    log = (job.work / "log.txt").open("a", buffering=1)
    os.dup2(log.fileno(), sys.stdout.fileno())
    os.dup2(log.fileno(), sys.stderr.fileno())
    threading.Thread(target=_end_with, args=(channel,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's to handle
    _quieten()
    job.suite.at(job.suite_folder)
    try:
        outcome = {"status": "ok", **stage(job, _throttled(channel.send))}
    except BaseException as error:
        traceback.print_exc()
        outcome = {"status": _status(error), "reason": _reason(error)}
    write_atomically(job.work / f"{name}.json", json.dumps(outcome, ensure_ascii=False, indent=1))


def _throttled(send: Callable[[float], None]) -> Callable[[float], None]:
    """Tell at most five times a second: steps of a tiny model are faster than anybody reads."""
    last = 0.0

    def tell(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last > 0.2:
            last = time.monotonic()
            send(fraction)

    return tell


def _end_with(channel: Connection) -> None:
    """A worker must not outlive the process that asked for it, however that one ends."""
    try:
        channel.recv()
    except (EOFError, OSError):
        os._exit(1)


def _quieten() -> None:
    """Turn off what the libraries say about themselves; their errors still reach the log."""
    import datasets
    import torch
    import transformers
    from tqdm import tqdm

    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own would be a semaphore that a worker leaves behind when it is ended
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)


def _status(error: BaseException) -> str:
    import torch

    from .ledger import BudgetSpent
    from .session import Diverged

    if isinstance(error, Skipped):
        return "skipped"
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, BudgetSpent):
        return "over budget"
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error):
        return "out of memory"
    return "failed"


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if type(error).__module__.startswith("bench.") else f"{type(error).__name__}: {text}"


# ── first process: train and save ───────────────────────────────────────────────────────────────────────────────────


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
    parameters = _parameters(model)
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


def _parameters(model: Any) -> dict[str, int]:
    return {
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "total": sum(p.numel() for p in model.parameters()),
    }


def _check_finite(model: Any) -> None:
    from .session import Diverged

    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise Diverged(f"{name} holds numbers that are not finite")


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


# ── second process: load and evaluate ───────────────────────────────────────────────────────────────────────────────


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
        "parameters": _parameters(model),
        "environment": environment(job),
    }


def _reopened(job: Job) -> Any:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from . import models

    device, dtype = torch.device(job.device), precision(job.suite, job.device)
    if job.run.method is not None and not (job.artifact / "adapter_config.json").exists():
        return AutoModelForCausalLM.from_pretrained(job.artifact, dtype=dtype, use_safetensors=True).to(device)  # pyright: ignore[reportArgumentType]
    start = models.ModelSpec(path=str(job.work / last), tokenizer=None) if (last := _last_stage(job)) else job.suite.start()
    base = models.load_model(start, dtype, device)
    return base if job.run.method is None else PeftModel.from_pretrained(base, str(job.artifact)).to(device)


def _last_stage(job: Job) -> str | None:
    """The folder that the last target of a sequence started from, if there was more than one."""
    return f"stage-{len(job.suite.target) - 2}" if job.run.method and len(job.suite.target) > 1 else None


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


# ── both ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def precision(suite: Suite, device: str) -> Any:
    """The torch dtype that the suite asks for on this device."""
    import torch

    auto = "bfloat16" if device.startswith("cuda") else "float32"
    return getattr(torch, auto if suite.dtype == "auto" else suite.dtype)


def environment(job: Job) -> dict[str, Any]:
    """Where a run ran, as far as its numbers may depend on it."""
    import torch

    return {
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "device": torch.cuda.get_device_name() if job.device.startswith("cuda") else _processor(),
        "device_kind": job.device.partition(":")[0],
        "dtype": str(precision(job.suite, job.device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
