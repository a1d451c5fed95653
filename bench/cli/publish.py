"""`bench publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
