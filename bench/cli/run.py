"""`bench run` and `bench plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import FAILED, Jobs, Json, On, Quiet, Results, ShardOf, SuiteFile


def run(
    suite: SuiteFile,
    results: Results = Path("results"),
    on: On = "local",
    jobs: Jobs = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="RECIPE", help="run this recipe of the suite and the base alone"
        ),
    ] = None,
    shard: ShardOf = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and evaluate every method of a suite. Finished runs are not repeated."""
    from bench import report
    from bench.cli import finished, placing, progress, show_analysis, shown
    from bench.execution.run_suite import checked, refuse_to_shrink, run_suite
    from bench.records.store import Store
    from bench.suite.file import load
    from bench.suite.file import only as only_some
    from bench.suite.schema import DROP, KEEP
    from bench.suite.shard import WHOLE, Shard
    from bench.suite.yaml_file import read

    voice = "json" if as_json else "quiet" if quiet else "full"
    part = Shard.parse(shard) if shard else WHOLE
    loaded = load(suite)
    store = Store(results / loaded.suite)
    with placing.opened(on, jobs, loaded) as executor:
        if only:
            loaded = only_some(loaded, only)
            refuse_to_shrink(loaded, executor.kind, store)
        kind = executor.kind
        if not as_json and (text := shown.shown(finished.state(loaded, kind, store))):
            runs = len(store.asked())
            with progress.of_runs(voice, loaded.suite, runs, runs, executor.slots, lambda: 0.0):
                print("" if quiet else text, end="")
            return
        for warning in checked(loaded, kind, store, lambda: read(suite)):
            typer.echo(f"Warning: {warning}", err=True)
        watch = placing.shown(voice, loaded.suite, executor.slots)
        run_suite(loaded, store, executor, watch, part)
    analysis = report.write(store)
    with shown.copied() as text:
        if not quiet:
            show_analysis.show(analysis, store.report, as_json)
    if any(record.failed for record in store.planned()):
        raise typer.Exit(FAILED)
    # what stayed in the cache is put away by the next command, which must look for it
    if voice == "full" and part == WHOLE and loaded.artifacts in (DROP, KEEP):
        shown.remember(finished.state(loaded, kind, store), text.getvalue())


def plan(
    suite: SuiteFile,
    results: Results = Path("results"),
    jobs: Jobs = None,
    speed: Annotated[
        str | None,
        typer.Option(
            "--speed",
            metavar="FLOPS",
            help="say how long other devices train, of so many FLOPs per second, such as 400T",
        ),
    ] = None,
    memory: Annotated[
        bool,
        typer.Option(
            "--memory",
            help="also say what memory training takes, from shapes: some seconds for each method",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the runs of a suite, their cost, and the suite with all defaults resolved."""
    import torch
    from rich.console import Console

    from bench.cli import show_plan
    from bench.execution.environment import precision, processor
    from bench.execution.executors.local import slots
    from bench.execution.memory import of_recipes
    from bench.execution.run_suite import hear, known_runs, missing_runs
    from bench.records.store import Store
    from bench.suite.amounts import amount
    from bench.suite.checks import check
    from bench.suite.file import load, resolved
    from bench.suite.forecast import Forecast
    from bench.suite.obstacles import obstacles
    from bench.suite.plan import runs_to_come
    from bench.suite.probe import remembered
    from bench.suite.units import unequal
    from bench.suite.yaml_file import read

    elsewhere = None if speed is None else amount(speed, "--speed")
    loaded = load(suite)
    data = check(loaded)
    data.refuse(read(suite), to_run=False)
    there = slots(jobs, loaded.gpus, loaded.memory)
    (first, *_), store = there[0], Store(results / loaded.suite)
    runs = known_runs(loaded, first.partition(":")[0], store)
    missing, to_come = missing_runs(loaded, runs, store), runs_to_come(loaded, runs)
    here, dtype = processor(first), precision(loaded, first)
    probed = remembered(loaded, runs[0].setting, here, torch.device(first), dtype)
    forecast = Forecast(loaded, probed.expected)
    hear(forecast, loaded, runs, store, here)
    forecast.plan(missing, to_come)
    weighed = None
    if memory:
        with Console(stderr=True).status("looking at the memory that each method takes"):
            weighed = of_recipes(loaded, runs, first, len(there))
    show_plan.show(
        show_plan.Plan(
            runs,
            {r.id for r in missing},
            to_come,
            probed,
            forecast,
            len(there),
            obstacles(loaded),
            data,
            resolved(loaded),
            unequal(loaded),
            elsewhere,
            weighed,
        ),
        as_json,
    )
