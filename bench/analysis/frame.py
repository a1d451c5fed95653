"""The table as a DataFrame, which is what CSV files and notebooks have."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.analysis import columns
from bench.analysis.rows import Row


def frame(found: list[Row]) -> pd.DataFrame:
    """One row per recipe, plain columns with units in their names; deviations as `<column>_std`."""
    data = pd.DataFrame([_flat(row) for row in found])
    first = [
        *("recipe", "status", "seeds"),
        *(column.name for column in columns.COLUMNS),
        *("budget_unit", "budget"),
        *(column.name for column in columns.SPENT),
        *("objective", "objective_before", "objective_after"),
    ]
    last = [c for c in data if c not in first and c != "reason"]
    return data.reindex(columns=[*(c for c in first if c in data), *last, "reason"])


def _flat(row: Row) -> dict[str, Any]:
    currency, amount = row.budget
    flat: dict[str, Any] = {"recipe": row.recipe, "status": row.status, "seeds": row.seeds}
    flat |= row.means | {"budget_unit": currency, "budget": amount}
    if own := next((o for o in reversed(row.objectives) if o.better), None):
        flat |= {
            "objective": own.name,
            "objective_before": own.before,
            "objective_after": own.after,
        }
    for name, (low, high) in row.intervals.items():
        flat |= {f"{name}_low": low, f"{name}_high": high}
    flat |= {f"{name}_std": value for name, value in row.spreads.items()}
    return flat | {
        "tie_group": row.tie_groups,
        "tuned_from": row.tuned_from,
        "imported": row.imported,
        "marks": "; ".join(row.marks),
        "environment": row.environment,
        "reason": row.reason,
    }
