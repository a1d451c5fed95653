"""`bench import`: results of others become records in the same table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import Json, Results
from bench.system.errors import UserError

SUITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

app = typer.Typer(
    help="Import results that others published.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def peft_method_comparison(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="PEFT's method_comparison/MetaMathQA/results")
    ],
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Import the results of PEFT's method comparison on MetaMathQA."""
    from bench.cli import show_analysis
    from bench.records.importers import peft_comparison
    from bench.records.importers.incoming import keep
    from bench.records.store import Store

    records = peft_comparison.read_folder(folder)
    store = Store(results / peft_comparison.SUITE)
    notes = keep(store, [(record, Path()) for record in records])
    show_analysis.report(store.folder, as_json, notes=notes)


@app.command()
def lm_eval(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="a results_*.json of lm-eval; samples_*.jsonl beside it are read as well",
        ),
    ],
    results: Results = Path("results"),
    suite: Annotated[
        str,
        typer.Option("--suite", metavar="NAME", help="the results folder to add it to"),
    ] = "lm-eval",
    recipe: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="name of its row; base for the start model [default: the model]",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, help="the seed of this run; several seeds make one row"),
    ] = 0,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", metavar="TASK", help="a task it was trained on; the others are retained"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import the scores of one lm-eval run as one row."""
    from bench.cli import show_analysis
    from bench.records.importers import lm_eval
    from bench.records.importers.incoming import keep
    from bench.records.store import Store

    if not SUITE_NAME.fullmatch(suite):
        raise UserError(
            f"--suite {suite} cannot name a folder; take letters, digits, dots, dashes and"
            " underscores"
        )
    with lm_eval.read(file, suite, recipe, seed, target or []) as (record, items):
        store = Store(results / suite)
        notes = keep(store, [(record, items)])
    show_analysis.report(store.folder, as_json, notes=notes)
