"""`bench schema`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

Of = Annotated[
    Literal["suite", "record"], typer.Argument(metavar="suite|record", help="of which files")
]


def schema(of: Of = "suite") -> None:
    """Print the JSON Schema of suite files, for completion in editors, or of records."""
    from bench.records.schema import record_schema
    from bench.suite.json_schema import suite_schema

    printed = record_schema() if of == "record" else suite_schema()
    typer.echo(json.dumps(printed, indent=2, ensure_ascii=False))
