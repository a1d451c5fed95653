"""`bench schema`."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of suite files, for completion in editors."""
    from bench.suite.json_schema import suite_schema

    typer.echo(json.dumps(suite_schema(), indent=2, ensure_ascii=False))
