"""The spine: a suite file in, records and one table out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from . import report, suite_file
from .plan import Run, make_plan, work_folder
from .record import FAILURES, RETRIED
from .report import terminal
from .store import Store
from .suite import Suite

Voice = Literal["full", "quiet", "json"]


def cache_folder() -> Path:
    """Where artifacts lie, outside the results."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bench"


def run(file: Path, results: Path, jobs: int | None, voice: Voice) -> bool:
    """Do what is missing of a suite and write its report; False when a run failed."""
    suite = suite_file.load(file)
    from .launch import local
    from .worker import Job

    devices = local.slots(jobs)
    runs = make_plan(suite, devices[0].partition(":")[0])
    store = Store(results / suite.suite)
    with store.lock():
        store.begin(suite_file.resolved(suite), [r.id for r in runs])
        missing = missing_runs(runs, store)
        todo = [Job(suite, suite.folder, r, "", work_folder(cache_folder(), suite, r)) for r in missing]
        with terminal.progress(voice, suite.suite, len(runs), len(runs) - len(missing), len(devices)) as watcher:
            local.run_all(todo, devices, store, watcher)
    rows = report.write(store)
    if voice != "quiet":
        terminal.print_rows(rows, store.report, voice == "json")
    return not any(record["status"] in FAILURES for record in store.planned())


def missing_runs(runs: list[Run], store: Store) -> list[Run]:
    """Runs without a record, and those whose failure another attempt may mend."""
    return [r for r in runs if not store.has(r.id) or store.get(r.id)["status"] in RETRIED]


def show_plan(file: Path, results: Path, jobs: int | None, as_json: bool) -> None:
    suite: Suite = suite_file.load(file)
    from . import cost
    from .launch import local

    devices = local.slots(jobs)
    runs = make_plan(suite, devices[0].partition(":")[0])
    missing = missing_runs(runs, Store(results / suite.suite))
    estimate = cost.estimate(suite, len([r for r in missing if r.method]), devices)
    terminal.print_plan(runs, {r.id for r in missing}, estimate, suite_file.resolved(suite), as_json)
