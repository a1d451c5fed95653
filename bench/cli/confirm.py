"""`bench confirm`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import FAILED, Jobs, On, Results, SuiteFile


def confirm(
    suite: SuiteFile,
    rows: Annotated[
        list[str],
        typer.Argument(metavar="ROW...", help='rows of its table, such as sft or "lora (tuned)"'),
    ],
    results: Results = Path("results"),
    on: On = "local",
    jobs: Jobs = None,
) -> None:
    """Run finished rows once more and say whether they come out the same. Exit code 1 if not."""
    from bench import report
    from bench.cli import placing
    from bench.execution.run_suite import run_again
    from bench.records.store import Store
    from bench.suite.file import load

    loaded = load(suite)
    store = Store(results / loaded.suite)
    with placing.opened(on, jobs, loaded) as executor:
        watch = placing.shown("full", f"{loaded.suite}, again", executor.slots)
        run_again(loaded, store, rows, executor, watch)
    analysis = report.write(store)
    outcomes = {name: analysis.again.get(name) for name in rows}
    for name, outcome in outcomes.items():
        typer.echo(f"{name}: {outcome.told() if outcome else 'failed when it was run again'}")
    if not all(outcome and outcome.confirmed for outcome in outcomes.values()):
        raise typer.Exit(FAILED)
