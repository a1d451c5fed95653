"""What `bench plan` prints."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.cli.progress import minutes, purpose
from bench.suite.checks import Report
from bench.suite.cost import Estimate
from bench.suite.plan import Run

FIELDS = ("id", "recipe", "method", "seed", "purpose", "share")


@dataclass(frozen=True)
class Plan:
    """The runs of a suite, and what is known of them before they start."""

    runs: list[Run]
    missing: set[str]
    """Ids of runs that are not done."""
    to_come: int
    """Tuned rows, whose ids depend on the trials."""
    cost: Estimate
    obstacles: dict[str, str]
    """Why rows will be skipped, by label."""
    data: Report
    suite: str
    """YAML, all defaults resolved."""


def show(plan: Plan, as_json: bool) -> None:
    """Print a plan as tables, or as JSON."""
    if as_json:
        print(json.dumps(_data(plan), indent=1, ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.print(plan.suite, markup=False)
    console.print(_table(plan))
    for recipe, reason in plan.obstacles.items():
        told = f"{escape(recipe)} will be skipped: {escape(reason)}"
        console.print(told, soft_wrap=True)
    console.print("Data", style="bold")
    for line in plan.data.notes():
        console.print(f"  {line}", soft_wrap=True, markup=False)
    for warning in plan.data.warnings():
        console.print(f"  Warning: {warning}", soft_wrap=True, markup=False)
    if plan.to_come:
        console.print(f"{plan.to_come} more runs follow from the trials: the tuned rows.")
    cost = plan.cost
    console.print(
        f"The model has {cost.parameters:,} parameters; a batch has about"
        f" {cost.tokens_per_batch:,.0f} tokens. Full fine-tuning passes about {cost.tokens:,.0f}"
        f" tokens, {cost.flops:.2g} FLOPs and {minutes(cost.seconds)} per run. {cost.runs:,.4g}"
        f" runs to train, {cost.at_once} concurrent: about {minutes(cost.total_seconds)}, plus"
        " evaluation."
    )


def _data(plan: Plan) -> dict[str, object]:
    runs = [
        {**{name: getattr(r, name) for name in FIELDS}, "done": r.id not in plan.missing}
        for r in plan.runs
    ]
    estimate = {**vars(plan.cost), "total_seconds": plan.cost.total_seconds}
    return {
        "runs": runs,
        "to_come": plan.to_come,
        "obstacles": plan.obstacles,
        "data": plan.data.data(),
        "estimate": estimate,
        "suite": plan.suite,
    }


def _table(plan: Plan) -> Table:
    grid = Table("run", "recipe", "seed", "purpose", "to do", header_style="bold")
    for r in plan.runs:
        todo = "evaluate" if r.method is None else "train, evaluate"
        grid.add_row(
            escape(r.id),
            escape(r.recipe),
            str(r.seed),
            purpose(r),
            todo if r.id in plan.missing else "done",
        )
    return grid
