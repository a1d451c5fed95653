"""From a suite to records: every run that is missing is placed by an executor, and its record is
kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench.execution import artifacts
from bench.execution.executors.protocol import Executor
from bench.execution.place import Watcher, make_up, place_all
from bench.execution.record import of_this_budget
from bench.execution.run_job import named
from bench.execution.worker import Job
from bench.records.schema import BASE, RETRIED, Purpose, Record, Status
from bench.records.store import AGAIN, Store
from bench.suite import file as suite_file
from bench.suite.checks import check
from bench.suite.forecast import Forecast, alike
from bench.suite.plan import Run, make_plan, runs_to_come, work_folder
from bench.suite.schema import DROP, KEEP, Suite
from bench.suite.shard import WHOLE, Shard
from bench.suite.yaml_file import Document
from bench.system.cache import cache_folder
from bench.system.errors import UserError

Watch = Callable[[int, int, Forecast], AbstractContextManager[Watcher]]
"""Opens a progress display for so many runs, of which so many are done already."""


def run_suite(
    suite: Suite, store: Store, executor: Executor, watch: Watch, shard: Shard = WHOLE
) -> None:
    """Run what is missing of a suite, or of one shard of it, and keep each record the moment it is
    finished.
    """
    with store.lock("" if shard == WHOLE else f"{shard.number}-of-{shard.of}"):
        planned = known_runs(suite, executor.kind, store)
        runs = [run for run in planned if shard.has(run)]
        total, left = len(runs) + runs_to_come(suite, runs), len(missing_runs(suite, runs, store))
        if left:
            artifacts.begin(suite)
            suite.start().prepare()
        forecast = Forecast(suite)
        hear(forecast, suite, runs, store, executor.processor)
        coming = _Named(suite, store, executor.kind, shard, forecast)
        with watch(total, len(runs) - left, forecast) as watcher:
            if suite.artifacts not in (DROP, KEEP):
                done = {record.id for record in store.found(run.id for run in runs)}
                ended = (_job(suite, run, cache_folder()) for run in runs if run.id in done)
                make_up(ended, watcher)
            while jobs := coming.jobs(planned):
                place_all(jobs, executor, store, watcher, forecast, coming.after)
                # others may have finished trials in the meantime
                planned = known_runs(suite, executor.kind, store) if suite.tuning else planned


class _Named:
    """The missing runs of a suite. Rows of a search have names as soon as all trials of their
    recipe are finished, and need not wait for the trials of another.
    """

    def __init__(
        self, suite: Suite, store: Store, kind: str, shard: Shard, forecast: Forecast
    ) -> None:
        self._suite, self._store, self._kind, self._shard = suite, store, kind, shard
        self._forecast = forecast
        self._known: set[str] = set()
        self._trials: Counter[str] = Counter()
        """Those that are not finished, by recipe."""

    def jobs(self, planned: list[Run]) -> list[Job]:
        """Those of a plan that were not given before, and that wait for no trial."""
        runs = [run for run in planned if self._shard.has(run)]
        new = [run for run in runs if run.id not in self._known]
        if not new:
            return []
        self._store.begin(suite_file.resolved(self._suite), [run.id for run in planned])
        _take_over_base(self._suite, planned, self._store)
        missing = missing_runs(self._suite, new, self._store)
        self._trials.update(run.recipe for run in missing if run.purpose is Purpose.TRIAL)
        # where a trial is done once more, another may be chosen
        early = {run.id for run in missing if self._trials[run.tuned_from or ""]}
        self._known |= {run.id for run in new} - early
        missing = [run for run in missing if run.id not in early]
        self._forecast.plan(missing, runs_to_come(self._suite, runs) + len(early))
        return [_job(self._suite, run, cache_folder()) for run in missing]

    def after(self, run: Run) -> list[Job]:
        """Those that a finished run gives a name."""
        if run.purpose is not Purpose.TRIAL:
            return []
        self._trials[run.recipe] -= 1
        if self._trials[run.recipe]:
            return []
        return self.jobs(known_runs(self._suite, self._kind, self._store))


def run_again(
    suite: Suite, store: Store, recipes: Sequence[str], executor: Executor, watch: Watch
) -> None:
    """Do all runs of some rows once more, and those of the base, beside the finished ones, which
    stay. UserError where the suite has no such row, or it has not been finished.
    """
    again, runs = store.again, finished_runs(suite, store, recipes, executor.kind)
    with again.lock():
        done = {record.id for record in store.repeated(r.id for r in runs) if record.ok}
        left = [run for run in runs if run.id not in done]
        current = set(store.asked())  # of an earlier state of the suite nothing is compared
        before = [run for run in again.asked() if run in current]
        asked = dict.fromkeys([*before, *(run.id for run in runs)])
        again.begin(suite_file.resolved(suite), list(asked))
        if left:
            suite.start().prepare()
        forecast = Forecast(suite)
        hear(forecast, suite, runs, store, executor.processor)
        with watch(len(runs), len(done), forecast) as watcher:
            forecast.plan(left, 0)
            apart = cache_folder() / AGAIN  # the artifact of the finished run stays as it was
            if suite.artifacts != KEEP:
                suite = suite.model_copy(update={"artifacts": DROP})
            jobs = [_job(suite, run, apart) for run in left]
            place_all(jobs, executor, again, watcher, forecast)


def finished_runs(suite: Suite, store: Store, recipes: Sequence[str], kind: str) -> list[Run]:
    """The runs behind some rows, and behind the base, in the order of the suite. UserError where a
    row is not of the suite, or one of its runs has not ended well.
    """
    rows = [run for run in known_runs(suite, kind, store) if run.purpose is Purpose.ROW]
    known = list(dict.fromkeys(run.recipe for run in rows))
    for recipe in recipes:
        if recipe not in known:
            raise UserError(
                f'{store.folder} has no row "{recipe}"; its rows are {", ".join(known)}'
            )
    runs = [run for run in rows if run.recipe in (BASE, *recipes)]
    fine = {record.id for record in store.found([run.id for run in runs]) if record.ok}
    if open_ := [run for run in runs if run.id not in fine]:
        raise UserError(
            f"{store.folder} holds no result of {open_[0].recipe}, seed {open_[0].seed}, on {kind}:"
            " what is to be confirmed must have been run on such a device before"
        )
    return runs


def checked(
    suite: Suite, kind: str, store: Store, document: Callable[[], Document | None] = lambda: None
) -> list[str]:
    """Warnings about the data of a suite that has something left to run; a `UserError` with every
    mistake in it. `document` reads the suite file, if there is one.
    """
    if not missing_runs(suite, known_runs(suite, kind, store), store):
        return []
    data = check(suite)
    data.refuse(document())
    return data.warnings()


def refuse_to_shrink(suite: Suite, kind: str, store: Store) -> None:
    """A UserError where the folder reports runs that this part of the suite would drop from it."""
    if not (store.folder / "plan.json").is_file():
        return
    if set(store.asked()) - {run.id for run in known_runs(suite, kind, store)}:
        raise UserError(
            f"{store.folder} holds results of more methods than --only asks for, and its report"
            " would lose them; give another folder, such as --results again"
        )


def known_runs(suite: Suite, kind: str, store: Store) -> list[Run]:
    """All runs that can be named by now, on devices of this kind, cpu or cuda: finished trials name
    the rows of their winners.
    """
    return make_plan(suite, kind, store.all() if suite.tuning else ())


def _take_over_base(suite: Suite, planned: list[Run], store: Store) -> None:
    """Where the base was scored under another budget, its record joins the rows of this one."""
    base = next(run for run in planned if run.recipe == BASE)
    for record in store.found([base.id]):
        if record.comparison_key != base.setting:
            store.put(of_this_budget(record, suite, base), store.items_file(base.id))


def missing_runs(suite: Suite, runs: list[Run], store: Store) -> list[Run]:
    """Runs without a record, and those whose failure another attempt may mend."""
    done = {record.id: record for record in store.found([run.id for run in runs])}
    return [run for run in runs if run.id not in done or _may_mend(suite, done[run.id])]


def _may_mend(suite: Suite, record: Record) -> bool:
    """Whether another attempt may mend a run. One that took too long needs a limit that somebody
    set since: with the same one it would take as long again, for nothing.
    """
    if record.status is Status.TIMED_OUT:
        limit = suite.time_limit
        return limit is not None and named(limit) not in (record.reason or "")
    return record.status in RETRIED


def hear(forecast: Forecast, suite: Suite, runs: list[Run], store: Store, here: str) -> None:
    """Tell a forecast of the runs in the store that took what these will take; `here` is the name
    of the processor that these will run on.
    """
    for record in store.all():
        if alike(record, suite, runs[0], here):
            forecast.finished(record)


def _job(suite: Suite, run: Run, cache: Path) -> Job:
    return Job(suite, run, "", work_folder(cache, suite, run))
