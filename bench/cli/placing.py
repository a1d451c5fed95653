"""What commands share that place runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING

import typer

from bench.cli.options import INTERRUPTED

if TYPE_CHECKING:
    from bench.cli.progress import Watcher
    from bench.execution.executors.protocol import Executor
    from bench.execution.run_suite import Watch
    from bench.execution.weigh import Weighed
    from bench.suite.forecast import Forecast
    from bench.suite.plan import Run
    from bench.suite.schema import Suite

    WeighedRows = dict[str, list[Weighed] | None]
    Display = AbstractContextManager[Watcher]


@contextmanager
def opened(on: str | None, jobs: int | None, gpus: int) -> Iterator[Executor]:
    """The executor that `--on` names, closed in the end; Ctrl-C ends the command with its own exit
    code.
    """
    from bench.execution.executors.local import Local
    from bench.execution.executors.protocol import open_executor

    try:
        with closing(open_executor(on, jobs, gpus) if on else Local(jobs, gpus)) as executor:
            yield executor
    except KeyboardInterrupt:
        typer.echo(
            "Interrupted. Finished runs are kept; the same command continues from there.", err=True
        )
        raise typer.Exit(INTERRUPTED) from None


def weighed(suite: Suite, runs: Sequence[Run], device: str, slots: int) -> WeighedRows:
    """What training takes of memory for each recipe; says meanwhile that it takes a while."""
    from rich.console import Console

    from bench.execution import memory

    first: dict[str, Run] = {}
    for run in runs:
        if run.method is not None:
            first.setdefault(run.recipe, run)
    console = Console(stderr=True)
    with console.status(f"looking at the memory that {len(first)} methods take"):
        return memory.weighed(suite, list(first.values()), device, slots)


def shown(voice: str, name: str, slots: int) -> Watch:
    """Shows runs on so many slots."""
    from bench.cli import progress

    def watch(total: int, done: int, forecast: Forecast) -> Display:
        def left() -> float | None:
            return forecast.seconds_left(slots, time.monotonic())

        return progress.of_runs(voice, name, total, done, slots, left)

    return watch
