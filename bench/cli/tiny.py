"""`bench tiny`: look at the embedded language, and build base models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="The embedded language and its base model.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def show(
    task: Annotated[str | None, typer.Argument(help="a task, such as smallest")] = None,
) -> None:
    """List the tasks of the tiny language, or show rows of one in every format."""
    from rich.console import Console
    from rich.table import Table

    from bench.data.formats import Format
    from bench.tiny.feedback import GRADED
    from bench.tiny.tasks import GONE, RETAINED, TARGETS, tiny_task

    console = Console()
    if task is None:
        listing = Table("task", "the base", "example")
        for name in (*RETAINED, *TARGETS, *GRADED):
            rows = tiny_task(f"tiny/{name}").load(Format.PROMPT_COMPLETION, "validation")
            listing.add_row(
                f"tiny/{name}",
                "knows it" if name in RETAINED else "does not",
                rows[0]["prompt"] + rows[0]["completion"],
            )
        for name, known in GONE.items():
            listing.add_row(f"tiny/{name}", "knows it", f"tiny/{known} without training data")
        listing.add_row(
            "tiny/long-text", "", "questions behind sixty statements, for speed and memory"
        )
        listing.add_row("tiny/text", "", "plain text of what the base knows, for drift")
        console.print(listing)
        return
    found = tiny_task(task if task.startswith("tiny/") else f"tiny/{task}")
    for format in sorted(found.formats):
        data = found.load(format, "train")
        console.print(f"[bold]{format}[/] ({len(data):,} rows)")
        for row in data.select(range(min(2, len(data)))):
            console.print(f"  {row}", highlight=False, markup=False)


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="folder for the model")],
    text: Annotated[
        list[Path] | None,
        typer.Option(help="plain text to learn instead of the tiny language; may be given again"),
    ] = None,
    vocabulary: Annotated[int, typer.Option(min=300, help="BPE tokens, for --text")] = 4096,
    hidden_size: Annotated[int, typer.Option(min=16, help="width of the Llama")] = 128,
    layers: Annotated[int, typer.Option(min=1, help="its depth")] = 4,
    heads: Annotated[int, typer.Option(min=1, help="its attention heads")] = 4,
    context: Annotated[int, typer.Option(min=16, help="tokens per line at most")] = 256,
    steps: Annotated[int, typer.Option(min=20, help="optimizer steps")] = 2000,
    batch: Annotated[int, typer.Option(min=1, help="lines per step")] = 128,
    lr: Annotated[float, typer.Option(help="peak learning rate")] = 3e-3,
    seed: Annotated[int, typer.Option(help="of weights and data order")] = 2024,
) -> None:
    """Train a base model: the embedded one from its seed, or one on your own plain text."""
    from bench.system.errors import UserError

    files = text or []
    for file in files:
        if not file.is_file():
            raise UserError(f"there is no text file {file}")
    if hidden_size % heads:
        raise UserError(
            f"--hidden-size {hidden_size} cannot be shared among {heads} heads; take a multiple of"
            f" {heads}"
        )
    from bench.cli.progress import of_training
    from bench.tiny.build import Shape, build_from_text, build_tiny

    shape = Shape(hidden_size, layers, heads, context, steps, batch, lr, seed)
    with of_training(steps) as progress:
        if files:
            build_from_text(files, out, shape, vocabulary, progress)
        else:
            build_tiny(out, shape, progress)
    typer.echo(
        f"The model is in {out}"
        + (f", text it never saw in {out / 'held-out.txt'}" if files else "")
    )
