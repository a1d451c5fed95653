"""The spine: a suite file in, records and one table out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from . import report, suite_file
from .plan import Run, make_plan, runs_to_come, work_folder
from .record import RETRIED, failed
from .report import terminal
from .store import Store
from .suite import Suite

if TYPE_CHECKING:
    from .worker import Job

Voice = Literal["full", "quiet", "json"]


def cache_folder() -> Path:
    """Where artifacts lie, outside the results."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bench"


def run(file: Path, results: Path, jobs: int | None, voice: Voice) -> bool:
    """Do what is missing of a suite and write its report; False when a run failed."""
    suite = suite_file.load(file)
    from .launch import local

    devices = local.slots(jobs)
    store = Store(results / suite.suite)
    with store.lock():
        runs = _plan(suite, devices, store)
        total, left = len(runs) + runs_to_come(suite, runs), len(missing_runs(runs, store))
        with terminal.progress(voice, suite.suite, total, len(runs) - left, len(devices)) as watcher:
            known: set[str] = set()
            while fresh := [r for r in runs if r.id not in known]:
                store.begin(suite_file.resolved(suite), [r.id for r in runs])
                local.run_all([_job(suite, r) for r in missing_runs(fresh, store)], devices, store, watcher)
                known |= {r.id for r in runs}
                runs = _plan(suite, devices, store) if suite.tuning else runs
    findings = report.write(store)
    if voice != "quiet":
        terminal.print_findings(findings, store.report, voice == "json")
    return not any(failed(record) for record in store.planned())


def _plan(suite: Suite, devices: list[str], store: Store) -> list[Run]:
    """All runs that can be named by what is known already: trials that are done name the rows of their winners."""
    return make_plan(suite, devices[0].partition(":")[0], store.all() if suite.tuning else ())


def _job(suite: Suite, run: Run) -> Job:
    from .worker import Job

    return Job(suite, suite.folder, run, "", work_folder(cache_folder(), suite, run))


def missing_runs(runs: list[Run], store: Store) -> list[Run]:
    """Runs without a record, and those whose failure another attempt may mend."""
    return [r for r in runs if not store.has(r.id) or store.get(r.id)["status"] in RETRIED]


def show_plan(file: Path, results: Path, jobs: int | None, as_json: bool) -> None:
    suite: Suite = suite_file.load(file)
    from . import cost
    from .launch import local

    devices = local.slots(jobs)
    store = Store(results / suite.suite)
    runs = _plan(suite, devices, store)
    missing = missing_runs(runs, store)
    to_come = runs_to_come(suite, runs)
    estimate = cost.estimate(suite, sum(r.share for r in missing if r.method) + to_come, devices)
    terminal.print_plan(runs, {r.id for r in missing}, to_come, estimate, suite_file.resolved(suite), as_json)
