"""Options and exit codes that commands share."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from bench.system.entry_points import PACKAGE
from bench.system.location import location

FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130

SuiteFile = Annotated[Path, typer.Argument(metavar="SUITE", help="a suite file (YAML)")]
Results = Annotated[
    Path,
    typer.Option(
        "--results",
        metavar="DIR",
        parser=location,
        help="where results are kept, one folder per suite; also s3://BUCKET/FOLDER and the like",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="concurrent runs [default: one per GPU, or per core]"),
]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="PLACE",
        help="what places the runs: local, slurm, slurm://PARTITION, ray, ray://HOST:PORT",
    ),
]
ShardOf = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="only this part of the runs, such as 2/4"),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="print errors only")]


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PACKAGE} {version(PACKAGE)}")
        raise typer.Exit()


Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, callback=_tell_version, help="print the version"),
]
