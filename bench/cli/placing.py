"""What commands share that place runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING

import typer

from bench.cli.options import INTERRUPTED

if TYPE_CHECKING:
    from bench.cli.progress import Watcher
    from bench.execution.executors.protocol import Executor
    from bench.execution.run_suite import Watch
    from bench.suite.forecast import Forecast
    from bench.suite.schema import Suite

    Display = AbstractContextManager[Watcher]


@contextmanager
def opened(on: str, jobs: int | None, suite: Suite) -> Iterator[Executor]:
    """The executor that `--on` names, closed in the end; Ctrl-C ends the command with its own exit
    code.
    """
    from bench.execution.executors.protocol import open_executor

    try:
        with closing(open_executor(on, jobs, suite)) as executor:
            yield executor
    except KeyboardInterrupt:
        typer.echo(
            "Interrupted. Finished runs are kept; the same command continues from there.", err=True
        )
        raise typer.Exit(INTERRUPTED) from None


def shown(voice: str, name: str, slots: int) -> Watch:
    """Shows runs on so many slots."""
    from bench.cli import progress

    def watch(total: int, done: int, forecast: Forecast) -> Display:
        def left() -> float | None:
            return forecast.seconds_left(slots, time.monotonic())

        return progress.of_runs(voice, name, total, done, slots, left)

    return watch
