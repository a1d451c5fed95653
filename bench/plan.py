"""From a suite to the runs it asks for. A run is known by what it would do: its id is a hash of its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import registry
from .data import Task, find_task
from .models import fingerprint
from .recipe import origins
from .suite import Suite

BASE = "base"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Run:
    """One recipe and one seed in one suite. The base, which is evaluated once, is the run without a method."""

    id: str
    recipe: str
    method: str | None
    parameters: dict[str, Any]
    origin: str
    seed: int
    setting: str
    """Hash of all that rows must share to be compared: model, data, budget, batch, precision, split, kind of device."""
    fingerprints: dict[str, Any]
    """Of the model, of each task's data and of the drift text."""


def tasks(suite: Suite, names: list[str]) -> list[Task]:
    return [find_task(name, suite.tasks, suite.folder) for name in names]


def make_plan(suite: Suite, device: str) -> list[Run]:
    """The base first, then every method with its first seed, then with the next: a table that is whole early."""
    setting = _setting(suite, device)
    runs = [_run(BASE, None, {}, "", 0, {**setting, "budget": None}, setting)]
    for seed in suite.seeds:
        for entry in suite.methods:
            kind = registry.find(entry.name).method
            method = kind.model_validate(entry.parameters) if kind else None
            parameters = method.model_dump(mode="json") if method else entry.parameters
            runs.append(_run(entry.label, entry.name, parameters, origins(entry.name, method), seed, setting, setting))
    return runs


def _run(
    recipe: str, method: str | None, parameters: dict[str, Any], origin: str, seed: int, content: dict[str, Any], setting: dict[str, Any]
) -> Run:
    digest = _digest([content, method, parameters, origin, seed])
    run_id = f"{_file_name(recipe)}-s{seed}-{digest}"
    fingerprints = {
        "model": setting["model"],
        "tasks": dict(setting["target"] + setting["retain"]),
        "drift": setting["drift"],
    }
    return Run(run_id, recipe, method, parameters, origin, seed, _digest(setting), fingerprints)


def _setting(suite: Suite, device: str) -> dict[str, Any]:
    named = {
        key: [(t.name, t.fingerprint) for t in tasks(suite, names)] for key, names in (("target", suite.target), ("retain", suite.retain))
    }
    return {
        "schema": SCHEMA_VERSION,
        "model": fingerprint(suite.start()),
        **named,
        "drift": _drift_fingerprint(suite),
        "budget": suite.budget.model_dump(exclude_none=True),
        "batch": suite.batch.model_dump(),
        "dtype": suite.dtype,
        "split": suite.split,
        "device": device,
    }


def _drift_fingerprint(suite: Suite) -> str | None:
    if suite.drift is None:
        return None
    file = suite.folder / suite.drift
    if file.is_file():
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return find_task(suite.drift, suite.tasks, suite.folder).fingerprint


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def _file_name(label: str) -> str:
    """The label with everything that a file name may not hold made a dash."""
    return "".join(c if c.isalnum() or c in "._+-" else "-" for c in label)


def work_folder(cache: Path, suite: Suite, run: Run) -> Path:
    """Where a run keeps its artifact and its log."""
    return cache / suite.suite / run.id
