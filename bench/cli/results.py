"""`bench report`, `bench merge`, `bench diff`, `bench overview` and `bench publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import FAILED, Json
from bench.system.location import location


def report(
    results: Annotated[
        Path,
        typer.Argument(metavar="RESULTS", parser=location, help="the results folder of one suite"),
    ],
    together: Annotated[
        bool, typer.Option("--together", help="one table, even if comparison keys differ")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the tables, the page and the picture of a results folder again, from its records."""
    from bench.cli import show_analysis

    show_analysis.report(results, as_json, together)


def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            parser=location,
            help="results folders of one suite; the first has precedence",
        ),
    ],
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            metavar="FOLDER",
            parser=location,
            help="where the union goes; existing results are kept",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Merge the results of one suite from several machines."""
    from bench.cli import show_analysis
    from bench.records.merge import merge as unite

    show_analysis.report(to, as_json, notes=unite(folders, to))


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="a results folder")],
    b: Annotated[
        Path, typer.Argument(metavar="B", help="another of the same suite, such as a later one")
    ],
    as_json: Json = False,
) -> None:
    """Show significant changes from A to B. Exit code 1 if anything got worse."""
    from bench.analysis.diff import diff as compare
    from bench.cli import show_diff

    found = compare(a, b)
    show_diff.show(found, as_json)
    if found.worse:
        raise typer.Exit(FAILED)


def overview(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="a folder with the results of many suites")
    ],
    to: Annotated[
        Path, typer.Argument(metavar="FILE", help="the page to write, such as docs/results.md")
    ],
) -> None:
    """Write one Markdown page over all results in a folder, with its pictures beside it."""
    from bench.publish import overview as page

    for file in page.write(results, to):
        typer.echo(file)


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
        bool, typer.Option("--adapters", help="include kept adapters, each with a model card")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="create the dataset as private")
    ] = False,
) -> None:
    """Build a site from results, or push them to the Hugging Face Hub."""
    from bench.publish.send import send

    for line in send(results, to, adapters, private):
        typer.echo(line)
