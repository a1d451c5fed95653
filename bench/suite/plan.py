"""From a suite to the runs it asks for. A run is known by what it would do: its id is a hash of its
content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.tasks import Task, find_task
from bench.methods import registry
from bench.methods.composition import origins
from bench.models.spec import fingerprint
from bench.records.schema import BASE, Purpose, Record
from bench.suite.schema import Suite
from bench.suite.search import RULES, draws

ID_VERSION = 1
"""Part of every run's id: it changes only when equal ids would no longer mean equal runs."""


@dataclass(frozen=True)
class Run:
    """One recipe and one seed in one suite. The base, which is evaluated once, is the run without a
    method.
    """

    id: str
    recipe: str
    method: str | None
    parameters: dict[str, Any]
    origin: str
    seed: int
    setting: str
    """Hash of all that rows must share to be compared: model, data, budget, batch, precision,
    split, kind of device.
    """
    fingerprints: dict[str, Any]
    """Of the model, of each task's data and of the drift text."""
    split: str
    """What it is scored on."""
    purpose: Purpose = Purpose.ROW
    share: float = 1.0
    """How much of the suite's budget it may spend."""
    trial: int | None = None
    """Number of its draw: its own, or of the one that gave it its hyper-parameters."""
    drawn: dict[str, Any] | None = None
    """The hyper-parameters that were drawn, by dotted name."""
    tuned_from: str | None = None
    """The recipe whose trials gave it its hyper-parameters."""


def tasks(suite: Suite, names: list[str]) -> list[Task]:
    return [find_task(name, suite.tasks, suite.folder) for name in names]


def make_plan(suite: Suite, device: str, done: Sequence[Record] = ()) -> list[Run]:
    """All runs that can be named by now.

    The base first, then every method with its first seed, then with the next: a table that is whole
    early. Then the trials; what they give to be tested can be named when they are among the records
    `done`.
    """
    planner = _Planner(suite, device)
    trials = list(planner.trials())
    runs = [planner.base(), *planner.rows(), *trials, *planner.tuned(trials, done)]
    return list({run.id: run for run in reversed(runs)}.values())[
        ::-1
    ]  # two draws may come to the same: the first stands


def runs_to_come(suite: Suite, planned: Sequence[Run]) -> int:
    """How many runs can be named only when the trials are done."""
    recipes = {run.recipe for run in planned if run.purpose is Purpose.TRIAL}
    known = sum(run.tuned_from is not None for run in planned)
    return len(recipes) * len(suite.seeds) * (1 + len(suite.curve)) - known


@dataclass(frozen=True)
class _Entry:
    """A row of the suite: its method with the parameters that its runs shall have."""

    label: str
    name: str
    parameters: Any
    trial: int | None = None
    drawn: dict[str, Any] | None = None
    tuned_from: str | None = None


class _Planner:
    def __init__(self, suite: Suite, device: str) -> None:
        self._suite = suite
        self._setting = _setting(suite, device)
        self._entries = [
            _Entry(entry.label, entry.name, entry.parameters) for entry in suite.methods
        ]

    def base(self) -> Run:
        return self._made(BASE, None, {}, "", 0, {**self._setting, "budget": None})

    def rows(self) -> Iterator[Run]:
        return self._rows(self._entries)

    def trials(self) -> Iterator[Run]:
        """On a seed that no row has, so that what is chosen was not chosen for the luck of a seed
        that is tested.
        """
        if (search := self._suite.tuning) is None:
            return
        setting = {**self._setting, "split": "validation", "share": search.share}
        drawn = [
            (entry, draws(entry.name, entry.parameters, search.trials, search.seed))
            for entry in self._entries
        ]
        for trial in range(search.trials):
            for entry, found in drawn:
                if found:
                    tried = _Entry(
                        entry.label, entry.name, found[trial].parameters, trial, found[trial].drawn
                    )
                    yield self._run(
                        tried, max(self._suite.seeds) + 1, setting, Purpose.TRIAL, search.share
                    )

    def tuned(self, trials: Sequence[Run], done: Sequence[Record]) -> Iterator[Run]:
        """The rows of those recipes whose trials are all among the records."""
        if (search := self._suite.tuning) is None:
            return
        records = {record.id: record for record in done}
        chosen = []
        for entry in self._entries:
            own = {run.id for run in trials if run.recipe == entry.label}
            if (
                own
                and own <= records.keys()
                and (best := RULES[search.select].choose([records[run] for run in own]))
            ):
                winner = best.parameters, best.trial, best.drawn
                chosen.append(_Entry(tuned_label(entry.label), entry.name, *winner, entry.label))
        yield from self._rows(chosen)

    def _rows(self, entries: Sequence[_Entry]) -> Iterator[Run]:
        for seed in self._suite.seeds:
            for entry in entries:
                yield self._run(entry, seed, self._setting)
        for share in self._suite.curve:
            for seed in self._suite.seeds:
                for entry in entries:
                    yield self._run(
                        entry, seed, {**self._setting, "share": share}, Purpose.CURVE, share
                    )

    def _run(
        self,
        entry: _Entry,
        seed: int,
        setting: dict[str, Any],
        purpose: Purpose = Purpose.ROW,
        share: float = 1.0,
    ) -> Run:
        kind = registry.find(entry.name).method
        method = kind.model_validate(entry.parameters) if kind else None
        parameters = method.model_dump(mode="json") if method else entry.parameters
        special = {
            "purpose": purpose,
            "share": share,
            "trial": entry.trial,
            "drawn": entry.drawn,
            "tuned_from": entry.tuned_from,
        }
        return self._made(
            entry.label,
            entry.name,
            parameters,
            origins(entry.name, method),
            seed,
            setting,
            **special,
        )

    def _made(
        self,
        recipe: str,
        method: str | None,
        parameters: dict[str, Any],
        origin: str,
        seed: int,
        setting: dict[str, Any],
        **special: Any,
    ) -> Run:
        digest = _digest([setting, method, parameters, origin, seed])
        own = self._setting if method is None else setting
        fingerprints = {
            "model": own["model"],
            "tasks": dict(own["target"] + own["retain"]),
            "drift": own["drift"],
        }
        run_id = f"{_file_name(recipe)}-s{seed}-{digest}"
        return Run(
            run_id,
            recipe,
            method,
            parameters,
            origin,
            seed,
            _digest(own),
            fingerprints,
            own["split"],
            **special,
        )


def tuned_label(recipe: str) -> str:
    """What the tuned row of a recipe is called."""
    return f"{recipe} (tuned)"


def _setting(suite: Suite, device: str) -> dict[str, Any]:
    named = {
        key: [(t.name, t.fingerprint) for t in tasks(suite, names)]
        for key, names in (("target", suite.target), ("retain", suite.retain))
    }
    return {
        "schema": ID_VERSION,
        "model": fingerprint(suite.start()),
        **named,
        "drift": _drift_fingerprint(suite),
        "budget": suite.budget.model_dump(exclude_none=True),
        "batch": suite.batch.model_dump(include={"size", "max_length"}),
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
