"""The command line, assembled from one file per group of commands.

Commands are thin: each reads its arguments, calls one room, and prints. Nothing heavy is imported
before it is needed.
"""

from __future__ import annotations

import gc
import os
import sys

import typer

from bench.cli import confirm, importing, methods, results, run, schema, tiny
from bench.cli.options import USER_ERROR, Version
from bench.system.errors import UserError

RARELY = (50_000, 10, 10)
"""When Python looks for garbage. Imports make many objects and hardly any: as often as Python does
it by itself, it takes a sixth of a plan's time.
"""

app = typer.Typer(
    help="Compare fine-tuning methods on equal budgets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # halves the time of --help
)
for command in (
    *(run.run, run.plan, confirm.confirm),
    *(methods.methods, methods.check, methods.new_method),
    *(results.report, results.merge, results.diff, results.overview, results.publish),
    schema.schema,
):
    app.command()(command)
app.add_typer(importing.app, name="import")
app.add_typer(tiny.app, name="tiny")


@app.callback()
def options(version: Version = False) -> None:
    """Options of the command itself; `--version` ends it before this is called."""


def main() -> None:
    """Entry point: a user's mistake ends with its message and exit code 2."""
    for name in ("HF_HUB_DISABLE_TELEMETRY", "TRL_EXPERIMENTAL_SILENCE"):
        os.environ[name] = "1"  # no library reports home or prints a notice
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    gc.set_threshold(*RARELY)
    try:
        app()
    except UserError as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
        sys.exit(USER_ERROR)
