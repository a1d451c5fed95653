"""What a person sees while a suite runs and when it is done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.analysis import Findings
from bench.analysis.rows import Row, frame
from bench.execution.worker import Job
from bench.records.schema import BASE, Purpose, Record
from bench.report import table
from bench.suite.cost import Estimate
from bench.suite.plan import Run

GOOD = ("ok", "skipped")


@contextmanager
def progress(voice: str, suite: str, total: int, done: int, at_once: int) -> Iterator[Watcher]:
    """A watcher that fits the voice and the place: a live display, a line per finished run, or
    nothing.
    """
    console = Console(stderr=voice == "json", quiet=voice != "full")
    kept = f", {done} of them kept from before" if done else ""
    console.print(f"[bold]{escape(suite)}[/]: {total} runs{kept}, {at_once} at a time")
    if not console.is_terminal:
        yield Watcher(console, None, total, done)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console) as live:
        yield Watcher(console, live, total, done)


class Watcher:
    """Follows the runs of one suite and estimates the time left from the fractions they report."""

    TRAIN_SHARE = 0.7  # of a run's time, until measured; evaluation takes the rest

    def __init__(self, console: Console, live: Progress | None, total: int, done: int) -> None:
        self._console, self._live = console, live
        self._todo = total - done
        self._fractions: dict[str, float] = {}
        self._started = time.monotonic()
        self._all = (
            live.add_task("all runs", total=total, completed=done, left="") if live else None
        )
        self._bars: dict[str, Any] = {}

    def running(self, job: Job, stage: str, fraction: float) -> None:
        whole = (
            fraction
            if job.run.method is None
            else self.TRAIN_SHARE * fraction
            if stage == "train"
            else 1 - 0.3 * (1 - fraction)
        )
        self._fractions[job.run.id] = whole
        if self._live is None or self._all is None:
            return
        if job.run.id not in self._bars:
            self._bars[job.run.id] = self._live.add_task("", total=100, left="")
        name = f"  {_named(job.run)}: {stage}"
        self._live.update(self._bars[job.run.id], description=name, completed=round(100 * fraction))
        self._live.update(self._all, left=f"about {_minutes(self.seconds_left())} left")

    def finished(self, job: Job, result: Record) -> None:
        self._fractions[job.run.id] = 1.0
        if self._live is not None and self._all is not None:
            if job.run.id in self._bars:
                self._live.remove_task(self._bars.pop(job.run.id))
            self._live.advance(self._all)
        colour = "green" if result["status"] in GOOD else "red"
        count = sum(f == 1.0 for f in self._fractions.values())
        left = f", about {_minutes(self.seconds_left())} left" if count < self._todo else ""
        reason = f": {result['reason']}" if result["reason"] else ""
        self._console.print(
            f"  {count}/{self._todo} {_named(job.run)}:"
            f" [{colour}]{result['status']}[/]{escape(reason)}{left}",
            highlight=False,
        )

    def seconds_left(self) -> float:
        done = sum(self._fractions.values())
        return (time.monotonic() - self._started) * (self._todo - done) / done if done else 0.0


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def print_findings(findings: Findings, folder: Path, as_json: bool) -> None:
    """The tables, what they come to, and where the whole report lies."""
    if as_json:
        records = json.loads(str(frame(findings.whole_rows()).to_json(orient="records")))
        told = {
            "report": str(folder),
            "headline": findings.headline,
            "weaknesses": findings.weaknesses,
            "rows": records,
        }
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return
    console = Console()
    for group in findings.groups:
        if group.apart:
            console.print(f"\nApart, because {escape(group.apart)}", highlight=False)
        _print_rows(group.rows, console)
        if reach := table.reach_of(group):
            console.print(
                f"Rows that share a letter are not known to differ. {reach}", highlight=False
            )
    console.print(f"[bold]{escape(findings.headline)}[/]", highlight=False)
    for sentence in (*findings.ranking, *findings.weaknesses):
        console.print(f"• {escape(sentence)}", highlight=False)
    for row in findings.rows:
        if row.reason:
            console.print(
                f"[bold]{escape(row.recipe)}[/]: {escape(row.status)}: {escape(row.reason)}",
                highlight=False,
            )
    console.print(
        f"All columns: {folder / 'table.md'} and {folder / 'table.csv'}; for the browser:"
        f" {folder / 'report.html'}",
        highlight=False,
    )


def _print_rows(rows: list[Row], console: Console) -> None:
    columns = [c for c in table.measured(rows) if c.short]
    grid = Table(header_style="bold")
    grid.add_column("method", min_width=max(len(row.recipe) for row in rows), overflow="fold")
    for title in (
        *(["letters"] if table.lettered(rows) else []),
        *(c.short for c in columns),
        table.budget_title(rows).replace("spent of", "spent\nof"),
        "seeds",
    ):
        grid.add_column(title, justify="right")
    grid.add_column("status")
    for row in rows:
        cells = [
            row.recipe,
            *table.letters(row, rows),
            *(table.cell(row, c) for c in columns),
            table.spent_share(row),
            str(row.seeds),
            row.status,
        ]
        grid.add_row(*map(escape, cells), style="dim" if row.recipe == BASE else None)
    (console if console.is_terminal else Console(width=max(console.width, 190))).print(grid)


def _named(run: Run) -> str:
    seed = f"{escape(run.recipe)} seed {run.seed}"
    return seed if run.purpose is Purpose.ROW else f"{seed}, {_purpose(run)}"


def _purpose(run: Run) -> str:
    what = f"trial {run.trial}" if run.purpose is Purpose.TRIAL else run.purpose.value
    return what if run.share == 1 else f"{what}, {run.share:.0%} of the budget"


def print_plan(
    runs: list[Run],
    missing: set[str],
    to_come: int,
    cost: Estimate,
    obstacles: dict[str, str],
    suite_yaml: str,
    as_json: bool,
) -> None:
    """The runs of a suite, their cost, and the suite with its defaults."""
    if as_json:
        told = ("id", "recipe", "method", "seed", "purpose", "share")
        listed = [
            {**{name: getattr(r, name) for name in told}, "done": r.id not in missing} for r in runs
        ]
        estimate = {**vars(cost), "total_seconds": cost.total_seconds}
        print(
            json.dumps(
                {
                    "runs": listed,
                    "to_come": to_come,
                    "obstacles": obstacles,
                    "estimate": estimate,
                    "suite": suite_yaml,
                },
                indent=1,
                ensure_ascii=False,
            )
        )
        return
    console = Console()
    console.print(suite_yaml, markup=False, highlight=False)
    grid = Table("run", "recipe", "seed", "for", "to do", header_style="bold")
    for r in runs:
        grid.add_row(
            escape(r.id),
            escape(r.recipe),
            str(r.seed),
            _purpose(r),
            ("evaluate" if r.method is None else "train, evaluate") if r.id in missing else "done",
        )
    console.print(grid)
    for recipe, reason in obstacles.items():
        told = f"{escape(recipe)} will be skipped: {escape(reason)}"
        console.print(told, highlight=False, soft_wrap=True)
    if to_come:
        console.print(
            f"{to_come} runs more get their names from the trials: the tuned rows.", highlight=False
        )
    console.print(
        f"A model of {cost.parameters:,} parameters, about {cost.tokens_per_batch:,.0f} tokens per"
        f" batch. Trained in full, one run passes about {cost.tokens:,.0f} tokens in"
        f" {cost.flops:.2g} FLOPs and {_minutes(cost.seconds)}; {cost.runs:,.4g} to train,"
        f" {cost.at_once} at a time: about {_minutes(cost.total_seconds)}, and evaluation.",
        highlight=False,
    )
