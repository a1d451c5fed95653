"""Every job of a suite goes to an executor and comes back as a record, which is kept at once."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from bench.execution import kept, record
from bench.execution.artifacts import put_away
from bench.execution.claims import Claims
from bench.execution.executors.protocol import Executor, Finished, Lost, Running
from bench.execution.run_job import ITEMS, Outcome
from bench.execution.worker import Job
from bench.records.schema import Record, Status
from bench.records.store import Store
from bench.suite.forecast import Forecast
from bench.suite.plan import Run
from bench.system.errors import UserError

MOST = 3  # times that a run is placed again: it may be what takes its machine down


class Watcher(Protocol):
    """Who wants to know how it goes. `node` is empty where there is one machine."""

    def running(self, job: Job, stage: str, fraction: float, node: str) -> None: ...

    def again(self, job: Job, reason: str, node: str) -> None: ...

    def stays(self, job: Job, reason: str) -> None: ...

    def finished(self, job: Job, result: Record, node: str) -> None: ...


def place_all(
    jobs: Iterable[Job],
    executor: Executor,
    store: Store,
    watcher: Watcher,
    forecast: Forecast,
    after: Callable[[Run], Iterable[Job]] = lambda _: (),
) -> None:
    """Run every job where the executor has room, and keep its record the moment it is finished;
    `after` gives the jobs that a finished run makes possible.

    A run whose machine was lost is placed again, a few times at most. One that somebody else
    finishes in the meantime, as where two drivers share a bucket, is not placed; one that another
    driver of this machine is at work on, with other results, waits until that has ended.
    """
    waiting, placed = deque(jobs), dict[str, Job]()
    if not waiting:
        return
    losses: Counter[str] = Counter()
    old = {record.id: record for record in store.found(job.run.id for job in waiting)}
    with closing(Claims(waiting[0].work.parent)) as ours:

        def settle(job: Job, result: Record, node: str) -> None:
            ours.leave(job.run.id)
            forecast.finished(result)
            watcher.finished(job, result, node)
            waiting.extend(after(job.run))

        while waiting or placed:
            fresh, held, room = list[Job](), list[Job](), executor.room()
            while waiting and len(fresh) < room:
                job = waiting.popleft()
                if theirs := _by_others(job, store, old):
                    settle(job, theirs, "")
                elif ours.take(job.run.id):
                    fresh.append(_with_limit(job, forecast))
                else:
                    held.append(job)
                    watcher.running(job, "waits for another bench run", 0.0, "")
            waiting.extend(held)
            if fresh:
                placed |= {job.run.id: job for job in fresh}
                executor.submit(fresh)
            for news in executor.hear(1.0):
                if (job := placed.get(news.run)) is None:
                    continue
                if isinstance(news, Running):
                    forecast.running(job.run, news.stage, news.fraction, time.monotonic())
                    watcher.running(job, news.stage, news.fraction, news.node)
                    continue
                del placed[news.run]
                if isinstance(news, Lost) and not news.final and losses[news.run] < MOST:
                    losses[news.run] += 1
                    watcher.again(job, news.reason, news.node)
                    waiting.appendleft(job)
                    continue
                outcome = news.outcome if isinstance(news, Finished) else _crashed(job, news)
                if not outcome.record.ok and (theirs := _by_others(job, store, old)):
                    settle(job, theirs, "")
                    continue
                _keep(job, outcome, store, watcher)
                settle(job, outcome.record, news.node)


def _by_others(job: Job, store: Store, old: Mapping[str, Record]) -> Record | None:
    """The record of a run that ended well elsewhere, since the `old` ones were read."""
    found = store.get(job.run.id) if store.has(job.run.id) else None
    return found if found and found.ok and found != old.get(found.id) else None


def _with_limit(job: Job, forecast: Forecast) -> Job:
    return replace(job, time_limit=job.suite.time_limit or forecast.limit(job.run))


def _crashed(job: Job, lost: Lost) -> Outcome:
    """A training that had ended well is kept: it was the evaluation that crashed."""
    times = "" if lost.final else f", {MOST + 1} times"
    stage = {"status": Status.CRASHED, "reason": lost.reason + times}
    trained, evaluated = None, stage
    if job.run.method is not None and (trained := kept.kept_training(job)) is None:
        trained, evaluated = stage, None
    return Outcome(record.assemble(job, trained, evaluated), job.work / ITEMS)


def _keep(job: Job, outcome: Outcome, store: Store, watcher: Watcher) -> None:
    store.put(outcome.record, outcome.items)
    if kept.evaluation_is_open(outcome.record):
        return
    kept.forget(job)
    _put_away(job, watcher)


def make_up(jobs: Iterable[Job], watcher: Watcher) -> None:
    """Put away what finished runs left in the cache, as where that was interrupted."""
    for job in jobs:
        if job.artifact.is_dir() and not kept.is_marked(job):
            _put_away(job, watcher)


def _put_away(job: Job, watcher: Watcher) -> None:
    try:
        put_away(job)
    except UserError as error:
        watcher.stays(job, str(error))
