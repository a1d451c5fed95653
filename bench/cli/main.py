"""The commands. Thin: each reads its arguments, calls one room, and prints. Nothing heavy is
imported before it is needed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.importing import app as import_app
from bench.cli.tiny import app as tiny_app
from bench.errors import UserError

FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Compare fine-tuning methods on equal budgets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # half of what --help would cost
)
app.add_typer(tiny_app, name="tiny")
app.add_typer(import_app, name="import")

SuiteFile = Annotated[Path, typer.Argument(metavar="SUITE", help="a suite file (YAML)")]
Results = Annotated[
    Path,
    typer.Option("--results", metavar="DIR", help="where results are kept, a folder per suite"),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON for a script")]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="runs at a time [default: one per GPU, or per core]"),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="print nothing but errors")]


@app.command()
def run(
    suite: SuiteFile,
    results: Results = Path("results"),
    jobs: Jobs = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and measure every method of a suite; what is finished already is not repeated."""
    from bench import report
    from bench.cli import terminal
    from bench.execution.executors.local import slots
    from bench.execution.run_suite import run_suite
    from bench.records.schema import failed
    from bench.records.store import Store
    from bench.suite.file import load

    voice = "json" if as_json else "quiet" if quiet else "full"
    loaded = load(suite)
    devices, store = slots(jobs), Store(results / loaded.suite)
    try:
        run_suite(
            loaded,
            store,
            devices,
            lambda total, done: terminal.progress(voice, loaded.suite, total, done, len(devices)),
        )
    except KeyboardInterrupt:
        typer.echo(
            "Interrupted. What is finished is kept; the same command goes on from there.", err=True
        )
        raise typer.Exit(INTERRUPTED) from None
    findings = report.write(store)
    if not quiet:
        terminal.print_findings(findings, store.report, as_json)
    if any(failed(record) for record in store.planned()):
        raise typer.Exit(FAILED)


@app.command()
def plan(
    suite: SuiteFile, results: Results = Path("results"), jobs: Jobs = None, as_json: Json = False
) -> None:
    """Show what a run would do, what it would cost, and the suite with all defaults resolved."""
    from bench.cli import terminal
    from bench.execution.executors.local import slots
    from bench.execution.run_suite import known_runs, missing_runs
    from bench.records.store import Store
    from bench.suite import cost
    from bench.suite.file import load, resolved
    from bench.suite.obstacles import obstacles
    from bench.suite.plan import runs_to_come

    loaded = load(suite)
    devices, store = slots(jobs), Store(results / loaded.suite)
    runs = known_runs(loaded, devices, store)
    missing, to_come = missing_runs(runs, store), runs_to_come(loaded, runs)
    estimate = cost.estimate(loaded, sum(r.share for r in missing if r.method) + to_come, devices)
    terminal.print_plan(
        runs,
        {r.id for r in missing},
        to_come,
        estimate,
        obstacles(loaded),
        resolved(loaded),
        as_json,
    )


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="one method to explain")] = None,
    as_json: Json = False,
) -> None:
    """List every method plugin, or explain one: origin, data formats, reference, hyper-parameters."""
    from bench.cli import listing

    listing.show_methods(name, as_json)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="the method to try")], as_json: Json = False
) -> None:
    """Try a method in the tiny world, and print a checklist of what every method must do."""
    from bench.cli import checklist

    if not checklist.show_check(name, as_json):
        raise typer.Exit(FAILED)


@app.command()
def new_method(
    name: Annotated[str, typer.Argument(help="name of the method, such as my-method")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="where its folder goes")] = Path(),
) -> None:
    """Write an installable package with a new method, its test and a suite that compares it with
    lora.
    """
    from bench.testing.scaffold import new_method as write

    files = write(name, to)
    typer.echo("\n".join(map(str, files)))
    typer.echo(f"\nNext: pip install -e {files[0].parent}, then bench check {name}")


@app.command()
def report(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="the results folder of one suite")
    ],
    together: Annotated[
        bool, typer.Option("--together", help="one table, even of rows that were not treated alike")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the tables, the page and the pictures of a results folder anew, from its records alone."""
    from bench import report
    from bench.cli import terminal
    from bench.records.store import Store

    terminal.print_findings(report.write(Store(results), together), results / "report", as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of suite files, for editors that complete them."""
    from bench.suite.json_schema import suite_schema

    typer.echo(json.dumps(suite_schema(), indent=2, ensure_ascii=False))


@app.command()
def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...", help="results folders of one suite; the first goes first"
        ),
    ],
    to: Annotated[
        Path,
        typer.Option(
            "--to", metavar="FOLDER", help="where the union goes; what is there already stays"
        ),
    ],
    as_json: Json = False,
) -> None:
    """Put together what several machines measured of one suite."""
    from bench import report
    from bench.cli import terminal
    from bench.records.merge import merge as unite
    from bench.records.store import Store

    for note in unite(folders, to):
        typer.echo(note, err=True)
    terminal.print_findings(report.write(Store(to)), to / "report", as_json)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="a results folder")],
    b: Annotated[
        Path, typer.Argument(metavar="B", help="another of the same suite, such as a later one")
    ],
    as_json: Json = False,
) -> None:
    """Tell what changed from A to B beyond noise; exit code 1 when something got worse."""
    from bench.analysis.diff import diff as compare
    from bench.cli.diff import show

    found = compare(a, b)
    show(found, as_json)
    if found.worse:
        raise typer.Exit(FAILED)


@app.command()
def publish(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", help="a results folder, or the folder of one suite in it"
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="FOLDER", help="a folder for a site, or hf://datasets/<org>/<name>"
        ),
    ],
    adapters: Annotated[
        bool, typer.Option("--adapters", help="kept adapters go along, each with a model card")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="a new dataset is seen by nobody else")
    ] = False,
) -> None:
    """Make a site of results, or push them to the Hugging Face Hub."""
    from bench.publish.send import send

    for line in send(results, to, adapters, private):
        typer.echo(line)


def main() -> None:
    """Entry point: a user's mistake ends with its message and exit code 2."""
    os.environ |= {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }  # nobody asked the libraries to report home
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app()
    except UserError as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
        sys.exit(USER_ERROR)
