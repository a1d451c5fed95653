"""A training that ended well is not repeated when its evaluation failed or was interrupted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.execution.environment import versions
from bench.execution.worker import Job
from bench.methods import registry
from bench.methods.composition import Merge
from bench.methods.entry import Resolved, resolve
from bench.methods.recipe import Recipe
from bench.records.schema import RETRIED, Record, Status
from bench.system.fingerprints import of_package

MARK = "trained-by.txt"
SCORING = "lm-eval"  # the one library that no training depends on


def mark(job: Job) -> None:
    """Write down what the training that begins here depends on."""
    job.work.mkdir(parents=True, exist_ok=True)
    (job.work / MARK).write_text(_made_by(job))


def is_marked(job: Job) -> bool:
    """Whether what lies there is of a training that is not evaluated yet."""
    return (job.work / MARK).is_file()


def kept_training(job: Job) -> dict[str, Any] | None:
    """What an earlier training of the same run wrote; None where there is none, where the code has
    changed since, or where its artifact is not whole.
    """
    from bench.evaluation.agreement import FILE

    mark, outcome = job.work / MARK, job.work / "train.json"
    if not (mark.is_file() and outcome.is_file() and (job.work / FILE).is_file()):
        return None
    written = json.loads(outcome.read_text(encoding="utf-8"))
    if mark.read_text() != _made_by(job) or written["status"] != "ok":
        return None
    return written if written["artifact_bytes"] == bytes_in(job.artifact) else None


def forget(job: Job) -> None:
    """The next run of this id trains anew."""
    (job.work / MARK).unlink(missing_ok=True)


def evaluation_is_open(record: Record) -> bool:
    """Whether another attempt, if there is one, begins with the evaluation."""
    return record.train is not None and record.status in (*RETRIED, Status.TIMED_OUT)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _made_by(job: Job) -> str:
    """Hash of the run, of how its batch is split, of the code, and of the libraries."""
    content = {"run": job.run.id, "batch": job.suite.batch.model_dump(), **code(job)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def code(job: Job) -> dict[str, dict[str, str]]:
    """What trains in a run: hashes of our and its plugins' code, and the versions of libraries."""
    assert job.run.method is not None
    packages = sorted({"bench", *_packages(resolve(job.run.method, job.run.parameters))})
    return {
        "sources": {name: of_package(name) for name in packages},
        "libraries": {k: v for k, v in versions().items() if k != SCORING},
    }


def _packages(recipe: Resolved) -> Iterator[str]:
    """The package of every method and merger in a recipe."""
    method = recipe.usable
    if method is not None:
        yield _package_of(type(method))
    if isinstance(method, Recipe):
        for part in method.parts:
            yield from _packages(part.recipe)
    if isinstance(method, Merge):
        for name in method.by:
            yield _package_of(registry.find_merger(name).method)


def _package_of(kind: type | None) -> str:
    return kind.__module__.partition(".")[0] if kind else "bench"
