"""Progress of the runs of a suite, and of a training in the foreground."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from bench.execution.worker import Job
    from bench.records.schema import Record
    from bench.suite.plan import Run

SecondsLeft = Callable[[], float | None]
"""Until all runs are done; None while nothing can be said."""
GOOD = ("ok", "skipped")


@contextmanager
def of_runs(
    voice: str, suite: str, total: int, done: int, at_once: int, left: SecondsLeft
) -> Iterator[Watcher]:
    """A watcher for the terminal: a live display, or a line per finished run, or nothing."""
    console = Console(stderr=voice == "json", quiet=voice != "full")
    kept = f", {done} already done" if done else ""
    console.print(f"[bold]{escape(suite)}[/]: {total} runs{kept}, {at_once} concurrent")
    if not console.is_terminal:
        yield Watcher(console, None, total, done, left)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console) as live:
        yield Watcher(console, live, total, done, left)


class Watcher:
    """Shows the runs of one suite, and the time left as far as it can be told."""

    LOOK_EVERY = 2.0  # seconds between looks at the forecast

    def __init__(
        self, console: Console, live: Progress | None, total: int, done: int, left: SecondsLeft
    ) -> None:
        self._console, self._live, self._seconds_left = console, live, left
        self._todo, self._finished, self._failed = total - done, 0, 0
        self._looked = 0.0
        self._all = (
            live.add_task("all runs", total=total, completed=done, left="") if live else None
        )
        self._bars: dict[str, Any] = {}

    def running(self, job: Job, stage: str, fraction: float, node: str) -> None:
        if self._live is None or self._all is None:
            return
        if job.run.id not in self._bars:
            self._bars[job.run.id] = self._live.add_task("", total=100, left="")
            self._count()
        name = f"  {_named(job.run)}{_on(node)}: {stage}"
        self._live.update(self._bars[job.run.id], description=name, completed=round(100 * fraction))
        if time.monotonic() - self._looked > self.LOOK_EVERY:
            self._looked = time.monotonic()
            self._live.update(self._all, left=self._left())

    def again(self, job: Job, reason: str, node: str) -> None:
        self._close(job)
        told = f"[yellow]lost[/]: {escape(reason)}; it is placed again"
        self._console.print(f"  {_named(job.run)}{_on(node)}: {told}", highlight=False)

    def stays(self, job: Job, reason: str) -> None:
        told = f"[yellow]its artifact stays in {escape(str(job.artifact))}[/]: {escape(reason)}"
        console = Console(stderr=True) if self._console.quiet else self._console
        console.print(f"  {_named(job.run)}: {told}", highlight=False)

    def finished(self, job: Job, result: Record, node: str) -> None:
        if self._live is not None and self._all is not None:
            self._live.advance(self._all)
        colour = "green" if result.status in GOOD else "red"
        self._finished += 1
        self._failed += result.failed
        self._close(job)
        left = self._left() if self._finished < self._todo else ""
        reason = f": {result.reason}" if result.reason else ""
        self._console.print(
            f"  {self._finished}/{self._todo} {_named(job.run)}{_on(node)}:"
            f" [{colour}]{result.status}[/]{escape(reason)}{', ' if left else ''}{left}",
            highlight=False,
        )

    def _close(self, job: Job) -> None:
        if self._live is not None and job.run.id in self._bars:
            self._live.remove_task(self._bars.pop(job.run.id))
        self._count()

    def _count(self) -> None:
        """Say how many runs wait, run, and have failed."""
        if self._live is None or self._all is None:
            return
        running = len(self._bars)
        waiting = self._todo - self._finished - running
        failed = f", [red]{self._failed} failed[/]" if self._failed else ""
        told = f"all runs: {running} running, {waiting} waiting{failed}"
        self._live.update(self._all, description=told)

    def _left(self) -> str:
        seconds = self._seconds_left()
        return "" if seconds is None else f"about {minutes(seconds)} left"


def minutes(seconds: float) -> str:
    """A duration, roughly."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 100 else f"{hours / 24:,.0f} days"


def _named(run: Run) -> str:
    seed = f"{escape(run.recipe)} seed {run.seed}"
    return seed if run.purpose == "row" else f"{seed}, {purpose(run)}"


def _on(node: str) -> str:
    return f" on {escape(node)}" if node else ""


def purpose(run: Run) -> str:
    """What a run is for, and on which share of the budget."""
    what = f"trial {run.trial}" if run.purpose == "trial" else str(run.purpose)
    return what if run.share == 1 else f"{what}, {run.share:.0%} of the budget"


@contextmanager
def of_training(steps: int) -> Iterator[Callable[[int, float], None]]:
    """Yields a function that takes the steps done and the loss."""
    columns = (
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
    )
    with Progress(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=steps, loss=float("nan"))
        yield lambda step, loss: bar.update(task, completed=step, loss=loss)
