"""`bench run` for notebooks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bench import report
from bench.analysis.results import Results, load
from bench.execution.executors.local import Local
from bench.execution.run_suite import checked, run_suite
from bench.execution.worker import Job
from bench.records.schema import Record
from bench.records.store import Store
from bench.suite import file as suite_file
from bench.suite.forecast import Forecast
from bench.system.location import location


def run(
    suite: str | Path | dict[str, Any], results: str | Path = "results", jobs: int | None = None
) -> Results:
    """Run what is missing of a suite, write its report, and load its results.

    The suite is a file, or its content as a dictionary; relative paths in a dictionary start at the
    current folder. Results lie in `<results>/<name of the suite>`. `jobs` is the number of
    concurrent runs, by default one per GPU, or per core. A run that fails raises nothing: its row
    says why. UserError where the suite is wrong.
    """
    given = suite_file.parse(suite) if isinstance(suite, dict) else suite_file.load(Path(suite))
    store = Store(location(results) / given.suite)
    with closing(Local(jobs, given.gpus, given.memory)) as executor:
        for warning in checked(given, executor.kind, store):
            warnings.warn(warning, stacklevel=2)
        run_suite(given, store, executor, _quietly)
    report.write(store)
    return load(str(store.folder))


@contextmanager
def _quietly(total: int, done: int, forecast: Forecast) -> Iterator[_Silent]:
    yield _Silent()


class _Silent:
    """A watcher that prints nothing but warnings."""

    def running(self, job: Job, stage: str, fraction: float, node: str) -> None:
        pass

    def again(self, job: Job, reason: str, node: str) -> None:
        pass

    def stays(self, job: Job, reason: str) -> None:
        warnings.warn(f"{reason}; the artifact stays in {job.artifact}", stacklevel=2)

    def finished(self, job: Job, result: Record, node: str) -> None:
        pass
