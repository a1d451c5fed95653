"""The outcome of one run, put together from what its two processes left behind."""

from __future__ import annotations

import signal
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from bench.execution.worker import Job
from bench.methods.entry import Resolved, resolve
from bench.methods.recipe import leaves
from bench.methods.search_space import hyperparameters
from bench.records.schema import (
    FAILURES,
    Batch,
    Budget,
    Fingerprints,
    Git,
    MethodFacts,
    Record,
    Status,
)
from bench.records.stages import EvaluationStage, TrainStage
from bench.suite.plan import Run
from bench.suite.schema import Suite

LOG_TAIL = 2000
OF_THE_RUN = (
    "status",
    "micro",
    "concurrent_runs",
)  # what a stage says that its part has no place for
Stage = TypeVar("Stage", TrainStage, EvaluationStage)


def death(exitcode: int | None) -> dict[str, Any]:
    """The outcome of a stage whose process died before it could write one."""
    return {"status": Status.CRASHED, "reason": _how(exitcode)}


def _how(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"the process ended with exit code {exitcode} and left no result"
    name = signal.Signals(-exitcode).name
    hint = (
        ", which is how the system ends a process when memory runs out" if name == "SIGKILL" else ""
    )
    return f"the process was ended by {name}{hint}"


def assemble(job: Job, train: dict[str, Any] | None, evaluation: dict[str, Any] | None) -> Record:
    """The record of a run. The first stage that is not ok gives status and reason."""
    run, suite = job.run, job.suite
    stages = [s for s in (train, evaluation) if s is not None]
    verdict = next((s for s in stages if s["status"] != "ok"), stages[-1])
    return Record(
        id=run.id,
        suite=suite.suite,
        comparison_key=run.setting,
        fingerprints=Fingerprints(**run.fingerprints),
        recipe=run.recipe,
        method=run.method,
        methods=method_facts(resolve(run.method, run.parameters)) if run.method else [],
        origin=run.origin,
        parameters=run.parameters,
        seed=run.seed,
        purpose=run.purpose,
        share=run.share,
        trial=run.trial,
        drawn=run.drawn,
        tuned_from=run.tuned_from,
        status=Status(verdict["status"]),
        reason=verdict.get("reason"),
        log=_log_tail(job) if verdict["status"] in FAILURES else None,
        target=suite.target,
        retain=suite.retain,
        split=run.split,
        budget=_budget(suite, run),
        batch=_batch(job, train),
        train=_ended_well(TrainStage, train),
        evaluation=_ended_well(EvaluationStage, evaluation),
        concurrent_runs=(train or {}).get("concurrent_runs", job.concurrent_runs),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        git=_git_state(suite.folder),
    )


def of_this_budget(record: Record, suite: Suite, run: Run) -> Record:
    """The record of a base that was scored under another budget of the suite: it spends none."""
    now = {"comparison_key": run.setting, "budget": _budget(suite, run)}
    return record.model_copy(update=now)


def _budget(suite: Suite, run: Run) -> Budget:
    budget = suite.budget.budget().part(0, run.share)
    return Budget(currency=budget.currency, amount=budget.amount)


def _ended_well(kind: type[Stage], written: dict[str, Any] | None) -> Stage | None:
    """A stage as its process wrote it; None where it was not reached or did not end well."""
    if written is None or written["status"] != "ok":
        return None
    own = {key: value for key, value in written.items() if key not in OF_THE_RUN}
    return kind.model_validate(own)


def _batch(job: Job, train: dict[str, Any] | None) -> Batch:
    """The suite's batch, with the rows at once that the training settled on where it had to."""
    batch = job.suite.batch.model_dump()
    if batch["micro"] == "auto":
        batch["micro"] = (train or {}).get("micro")
    return Batch(**batch)


def method_facts(recipe: Resolved) -> list[MethodFacts]:
    """What a report says of a method, or of each method in a recipe. Empty where the plugin cannot
    be used.
    """
    return [
        MethodFacts(
            name=leaf.name,
            family=method.family,
            reference=method.reference,
            verified=method.verified,
            tunable=any(h.range is not None for h in hyperparameters(type(method))),
        )
        for leaf in leaves(recipe)
        if (method := leaf.usable) is not None
    ]


def _log_tail(job: Job) -> str | None:
    """The end of the worker's log, without the paths of the machine it ran on."""
    file = job.work / "log.txt"
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]
    here = str(Path(__file__).parents[2])
    return (
        text.replace(here, "…").replace(str(Path.home()), "~").replace(str(job.suite.folder), ".")
    )


@cache
def _git_state(folder: Path) -> Git | None:
    """The repository that the suite file lies in; None where it lies in none."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        # results are what runs write: a suite that goes on changes them
        code = ("--", ":/", ":(exclude,top)results")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", *code)
        return Git(commit=commit, dirty=bool(changed))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()
