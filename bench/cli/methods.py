"""`bench methods`, `bench check` and `bench new-method`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import FAILED, Json


def methods(
    name: Annotated[str | None, typer.Argument(help="one method to describe")] = None,
    as_json: Json = False,
) -> None:
    """List all methods, or describe one: origin, data formats, reference, hyper-parameters."""
    from bench.cli import installed, shown

    state = installed.state(name, as_json)
    if (text := shown.shown(state)) is not None:
        print(text, end="")
        return
    from bench.cli import show_methods

    with shown.copied() as copy:
        all_usable = show_methods.show(name, as_json)
    if all_usable:  # what is missing may come at any time
        shown.remember(state, copy.getvalue())


def check(
    name: Annotated[str, typer.Argument(help="the method to check")], as_json: Json = False
) -> None:
    """Check that a method keeps the contract, by training it on the tiny model."""
    from bench.cli import show_check

    if not show_check.show(name, as_json):
        raise typer.Exit(FAILED)


def new_method(
    name: Annotated[str, typer.Argument(help="name of the method, such as my-method")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="where its folder goes")] = Path(),
) -> None:
    """Create an installable package with a new method, its test, and a suite that compares it with
    lora.
    """
    from bench.testing.scaffold import new_method as write

    files = write(name, to)
    typer.echo("\n".join(map(str, files)))
    typer.echo(f"\nNext: pip install -e {files[0].parent}, then bench check {name}")
