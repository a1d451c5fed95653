"""What `bench plan` prints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.cli.progress import minutes, purpose
from bench.suite.checks import Report
from bench.suite.forecast import Forecast, Seconds
from bench.suite.plan import Run
from bench.suite.probe import Probe

if TYPE_CHECKING:
    from bench.execution.weigh import Weighed

HEADS = ("training", "objective", "evaluation", "drift", "loading, saving")
MOST_LINES = 200
"""Runs and recipes that are listed."""
MEMORY_NOTE = (
    "Memory of weights, gradients, optimizer state and activations, on the longest rows. Libraries"
    " take some more."
)
FIELDS = ("id", "recipe", "method", "seed", "purpose", "share")


@dataclass(frozen=True)
class Plan:
    """The runs of a suite, and what is known of them before they start."""

    runs: list[Run]
    missing: set[str]
    """Ids of runs that are not done."""
    to_come: int
    """Tuned rows, whose ids depend on the trials."""
    probe: Probe
    forecast: Forecast
    at_once: int
    obstacles: dict[str, str]
    """Why rows will be skipped, by label."""
    data: Report
    suite: str
    """YAML, all defaults resolved."""
    unequal: str | None = None
    """Why the budget is not the same work for all recipes."""
    speed: float | None = None
    """FLOPs per second of other devices, whose time is told too."""
    weighed: dict[str, list[Weighed] | None] | None = None
    """Memory of training by recipe, where it was asked for."""

    @property
    def training_flops(self) -> float:
        """Of all runs that are to be done, if each trained all parameters."""
        shares = (run.share for run in self.runs if run.id in self.missing and run.method)
        return self.probe.flops * (sum(shares) + self.to_come)

    @property
    def seconds_left(self) -> float:
        return self.forecast.seconds_left(self.at_once, 0.0) or 0.0

    def each(self) -> dict[str, Seconds]:
        """What one run takes, by recipe and by what it is for."""
        first: dict[str, Run] = {}
        for run in self.runs:
            first.setdefault(_label(run), run)
        found = {label: self.forecast.of(run) for label, run in first.items()}
        return {label: seconds for label, seconds in found.items() if seconds is not None}


def show(plan: Plan, as_json: bool) -> None:
    """Print a plan as tables, or as JSON."""
    if as_json:
        print(json.dumps(_data(plan), indent=1, ensure_ascii=False))
        return
    console = Console(highlight=False)
    print(plan.suite)
    console.print(_table(plan))
    if len(plan.runs) > MOST_LINES:
        console.print(f"The first {MOST_LINES} of {len(plan.runs):,} runs; --json prints all.")
    for recipe, reason in plan.obstacles.items():
        told = f"{escape(recipe)} will be skipped: {escape(reason)}"
        console.print(told, soft_wrap=True)
    if plan.unequal:
        console.print(plan.unequal, soft_wrap=True, markup=False)
    console.print("Data", style="bold")
    for line in plan.data.notes():
        console.print(f"  {line}", soft_wrap=True, markup=False)
    for warning in [*plan.data.warnings(), *plan.probe.unscored]:
        console.print(f"  Warning: {warning}", soft_wrap=True, markup=False)
    if plan.to_come:
        console.print(f"{plan.to_come} more runs follow from the trials: the tuned rows.")
    cost = plan.probe
    console.print(
        f"The model has {cost.parameters:,} parameters; a batch has about"
        f" {cost.tokens_per_batch:,.0f} tokens. Full fine-tuning passes about {cost.tokens:,.0f}"
        f" tokens and {cost.flops:.2g} FLOPs per run."
    )
    console.print(_times(plan))
    if plan.weighed is not None:
        console.print(_memory(plan.weighed))
        console.print(MEMORY_NOTE, soft_wrap=True)
    how = "from a few passes on this machine"
    if any(plan.forecast.knows(run) for run in plan.runs):
        how = "from finished runs where there are any, else from a few passes on this machine"
    if plan.speed:
        hours = plan.training_flops / plan.speed / 3600
        console.print(
            f"Devices of {plan.speed:.3g} FLOPs per second train {hours:,.0f} hours at most, added"
            " up over all runs to do. Loading, scoring and drift come on top."
        )
    console.print(
        f"{len(plan.missing) + plan.to_come} runs to do, {plan.at_once} concurrent: about"
        f" {minutes(plan.seconds_left)} ({how})."
    )


def _times(plan: Plan) -> Table:
    """What one run of each recipe takes, by stage."""
    grid = Table("one run takes about", *HEADS, "in all", header_style="bold")
    for label, seconds in list(plan.each().items())[:MOST_LINES]:
        shown = [minutes(s) for s in (*seconds.each(), seconds.total)]
        grid.add_row(escape(label), *shown)
    return grid


def _memory(weighed: dict[str, list[Weighed] | None]) -> Table:
    """What training takes of memory, and the rows at once that fit where the suite limits it."""
    grid = Table("training takes at most", "memory", "rows at once", header_style="bold")
    for label, found in list(weighed.items())[:MOST_LINES]:
        for one in found or ():
            grid.add_row(escape(label), str(one), str(one.micro))
        if not found:
            grid.add_row(escape(label), "not known", "")
    return grid


def _data(plan: Plan) -> dict[str, object]:
    runs = [
        {**{name: getattr(r, name) for name in FIELDS}, "done": r.id not in plan.missing}
        for r in plan.runs
    ]
    estimate = {
        "parameters": plan.probe.parameters,
        "tokens_per_batch": plan.probe.tokens_per_batch,
        "tokens": plan.probe.tokens,
        "flops": plan.probe.flops,
        "training_flops": plan.training_flops,
        "seconds": plan.probe.seconds.total,
        "runs": len(plan.missing) + plan.to_come,
        "at_once": plan.at_once,
        "total_seconds": plan.seconds_left,
        "by_recipe": {label: vars(seconds) for label, seconds in plan.each().items()},
    }
    return {
        "runs": runs,
        "to_come": plan.to_come,
        "obstacles": plan.obstacles,
        "unequal": plan.unequal,
        "memory": {
            label: found and [vars(one) for one in found]
            for label, found in (plan.weighed or {}).items()
        },
        "data": plan.data.data(),
        "estimate": estimate,
        "suite": plan.suite,
    }


def _label(run: Run) -> str:
    what = "" if run.purpose == "row" else f", {run.purpose}"
    return f"{run.recipe}{what}" + ("" if run.share == 1 else f", {run.share:.0%} of the budget")


def _table(plan: Plan) -> Table:
    grid = Table("run", "recipe", "seed", "purpose", "to do", header_style="bold")
    for r in plan.runs[:MOST_LINES]:
        todo = "evaluate" if r.method is None else "train, evaluate"
        grid.add_row(
            escape(r.id),
            escape(r.recipe),
            str(r.seed),
            purpose(r),
            todo if r.id in plan.missing else "done",
        )
    return grid
