"""The table: one row per recipe, with means and standard deviations over seeds."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from bench.accounting.budget import CURRENCIES


@dataclass(frozen=True)
class Objective:
    """One number that a stage of a recipe itself optimises or watches, averaged over seeds."""

    stage: str
    method: str
    name: str
    better: str | None
    """lower or higher, where it is what the method strives for."""
    before: float
    after: float


@dataclass
class Row:
    """One recipe: each column's mean and spread over seeds, or the reason why there is none."""

    recipe: str
    status: str
    reason: str | None
    seeds: int
    budget: tuple[str, float]
    family: str = ""
    tuned_from: str | None = None
    """The row with default hyper-parameters, where those of this one were chosen among trials."""
    environment: str = ""
    """Hardware and versions that speed and memory were measured with."""
    imported: str | None = None
    """Who published it, where others measured it."""
    means: dict[str, float] = field(default_factory=dict)
    spreads: dict[str, float] = field(default_factory=dict)
    """Standard deviation between seeds (n - 1), where there are two seeds or more."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Confidence interval by column, at the level of `Findings.level`."""
    letters: str = ""
    """Rows that share a letter are not known to differ in target accuracy."""
    marks: list[str] = field(default_factory=list)
    """What weakens the row, in a few words each: one seed, untuned, not verified, mixed
    environments.
    """
    missing: dict[str, str] = field(default_factory=dict)
    ledger: dict[str, dict[str, float]] = field(default_factory=dict)
    """What was spent, by purpose (train, reference, rollout, …, and tuning apart), in each
    currency; a mean over seeds.
    """
    objectives: list[Objective] = field(default_factory=list)


def frame(found: list[Row]) -> pd.DataFrame:
    """One row per recipe, plain columns with units in their names; spreads as `<column>_std`."""
    table = []
    for row in found:
        currency, amount = row.budget
        head = {"recipe": row.recipe, "status": row.status, "seeds": row.seeds}
        tail = {"budget_unit": currency, "budget": amount}
        own = next((o for o in reversed(row.objectives) if o.better), None)
        tail |= (
            {"objective": own.name, "objective_before": own.before, "objective_after": own.after}
            if own
            else {}
        )
        bounds = {
            f"{name}_{end}": value
            for name, pair in row.intervals.items()
            for end, value in zip(("low", "high"), pair, strict=True)
        }
        stds = {f"{name}_std": value for name, value in row.spreads.items()}
        marks = {
            "letters": row.letters,
            "tuned_from": row.tuned_from,
            "imported": row.imported,
            "marks": "; ".join(row.marks),
        }
        marks["environment"] = row.environment
        table.append({**head, **row.means, **tail, **bounds, **stds, **marks, "reason": row.reason})
    data = pd.DataFrame(table)
    return data.reindex(
        columns=[
            *[c for c in COLUMNS if c in data],
            *[c for c in data if c not in COLUMNS and c != "reason"],
            "reason",
        ]
    )


COLUMNS = (
    "recipe status seeds target_accuracy forgetting items_lost items_gained drift_nll drift_kl"
    " peak_train_bytes peak_eval_bytes train_tokens_per_second decode_tokens_per_second"
    " trainable_parameters total_parameters artifact_bytes load_seconds train_seconds save_seconds"
    " eval_seconds budget_unit budget "
    + " ".join(f"spent_{c}" for c in CURRENCIES)
    + " objective objective_before objective_after"
).split()
