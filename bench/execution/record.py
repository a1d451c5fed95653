"""The outcome of one run, put together from what its two processes left behind."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from bench.execution.worker import Job
from bench.records.schema import FAILURES, Record

LOG_TAIL = 2000


def outcome_of(job: Job, stage: str, exitcode: int | None) -> dict[str, Any]:
    """What a stage wrote, or, where its process died before it could, how it died."""
    file = job.work / f"{stage}.json"
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    return {"status": "crashed", "reason": _death(exitcode)}


def _death(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"the process ended with exit code {exitcode} and left no result"
    name = signal.Signals(-exitcode).name
    hint = (
        ", which is how the system ends a process when memory runs out" if name == "SIGKILL" else ""
    )
    return f"the process was ended by {name}{hint}"


def assemble(
    job: Job, train: dict[str, Any] | None, evaluation: dict[str, Any] | None, jobs: int
) -> Record:
    """The record of a run. A stage that was not reached is null; the first stage that is not ok
    gives status and reason.
    """
    run, suite = job.run, job.suite
    stages = [s for s in (train, evaluation) if s is not None]
    verdict = next((s for s in stages if s["status"] != "ok"), stages[-1])
    budget = suite.budget.budget().part(0, run.share)
    return {
        "id": run.id,
        "suite": suite.suite,
        "setting": run.setting,
        "fingerprints": run.fingerprints,
        "recipe": run.recipe,
        "method": run.method,
        "origin": run.origin,
        "parameters": run.parameters,
        "seed": run.seed,
        "purpose": run.purpose,
        "share": run.share,
        "trial": run.trial,
        "drawn": run.drawn,
        "tuned_from": run.tuned_from,
        "status": verdict["status"],
        "reason": verdict.get("reason"),
        "log": _log_tail(job) if verdict["status"] in FAILURES else None,
        "target": suite.target,
        "retain": suite.retain,
        "split": run.split,
        "budget": {"currency": budget.currency, "amount": budget.amount},
        "batch": suite.batch.model_dump(),
        "train": train,
        "evaluation": evaluation,
        "side_by_side": jobs,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": _git_state(suite.folder),
    }


def _log_tail(job: Job) -> str | None:
    """The end of the worker's log, without the paths of the machine it ran on."""
    file = job.work / "log.txt"
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]
    here = str(Path(__file__).parents[2])
    return (
        text.replace(here, "…").replace(str(Path.home()), "~").replace(str(job.suite_folder), ".")
    )


@cache
def _git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository that the suite file lies in, and whether files in it differ from it."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {
            "commit": commit,
            "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()
