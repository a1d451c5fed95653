"""From records to one row per recipe: means and standard deviations over seeds, and what was forgotten item by item."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from .budget import CURRENCIES
from .plan import BASE
from .store import Record, Store

RIGHT, WRONG = 1.0, 0.0
UNPUBLISHED = "not published"
"""Why a number is missing that others measured, or did not, and do not tell."""


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
    """What weakens the row, in a few words each: one seed, untuned, not verified, mixed environments."""
    missing: dict[str, str] = field(default_factory=dict)
    ledger: dict[str, dict[str, float]] = field(default_factory=dict)
    """What was spent, by purpose (train, reference, rollout, …, and tuning apart), in each currency; a mean over seeds."""
    objectives: list[Objective] = field(default_factory=list)


def rows(store: Store) -> list[Row]:
    """The base first, then by target accuracy; recipes without a result last."""
    records = store.planned()
    base = next((r for r in records if r["recipe"] == BASE and r["status"] == "ok"), None)
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["recipe"], []).append(record)
    made = [_row(name, group, base, store) for name, group in groups.items()]
    return sorted(made, key=lambda r: (r.recipe != BASE, "target_accuracy" not in r.means, -r.means.get("target_accuracy", 0.0)))


def frame(found: list[Row]) -> pd.DataFrame:
    """One row per recipe, plain columns with units in their names; spreads as `<column>_std`."""
    table = []
    for row in found:
        currency, amount = row.budget
        head = {"recipe": row.recipe, "status": row.status, "seeds": row.seeds}
        tail = {"budget_unit": currency, "budget": amount}
        own = next((o for o in reversed(row.objectives) if o.better), None)
        tail |= {"objective": own.name, "objective_before": own.before, "objective_after": own.after} if own else {}
        stds = {f"{name}_std": value for name, value in row.spreads.items()}
        table.append({**head, **row.means, **tail, **stds, "reason": row.reason})
    data = pd.DataFrame(table)
    return data.reindex(columns=[*[c for c in COLUMNS if c in data], *[c for c in data if c not in COLUMNS and c != "reason"], "reason"])


COLUMNS = (
    "recipe status seeds target_accuracy forgetting items_lost items_gained drift_nll drift_kl peak_train_bytes peak_eval_bytes "
    "train_tokens_per_second decode_tokens_per_second trainable_parameters total_parameters artifact_bytes load_seconds "
    "train_seconds save_seconds eval_seconds budget_unit budget "
    + " ".join(f"spent_{c}" for c in CURRENCIES)
    + " objective objective_before objective_after"
).split()


def _row(recipe: str, records: list[Record], base: Record | None, store: Store) -> Row:
    fine = [r for r in records if r["status"] == "ok"]
    others = [r for r in records if r["status"] != "ok"]
    budget = records[0]["budget"] or {"currency": "unknown", "amount": math.nan}  # lm-eval tells nothing of the training
    row = Row(recipe, _status(records), others[0]["reason"] if others else None, len(fine), (budget["currency"], budget["amount"]))
    measured = [_measure(r, base, store) for r in fine]
    for column in dict.fromkeys(c for values, _ in measured for c in values):
        found = [values[column] for values, _ in measured if column in values]
        row.means[column] = statistics.fmean(found)
        if len(found) > 1:
            row.spreads[column] = statistics.stdev(found)
    row.missing[f"spent_{row.budget[0]}"] = UNPUBLISHED if records[0]["budget"] is None else row.status
    for _, reasons in measured:
        row.missing |= reasons
    row.objectives = _objectives([r["train"]["objective"] for r in fine if (r["train"] or {}).get("objective")])
    return row


def _objectives(by_seed: list[list[dict[str, Any]]]) -> list[Objective]:
    """What each stage itself optimised; a stage that could not be measured is left out."""
    found: dict[tuple[str, str, str, str | None], list[tuple[float, float]]] = {}
    for look in (look for looks in by_seed for look in looks):
        before, after = look["before"].get("values", {}), look["after"].get("values", {})
        for name in before.keys() & after.keys():
            key = (look["stage"], look["method"], name, look["better"] if name == look["goal"] else None)
            found.setdefault(key, []).append((before[name], after[name]))
    return [
        Objective(*key, *(statistics.fmean(column) for column in zip(*pairs, strict=True))) for key, pairs in sorted(found.items(), key=str)
    ]


def _status(records: list[Record]) -> str:
    counts: dict[str, int] = {}
    for record in records:
        counts[record["status"]] = counts.get(record["status"], 0) + 1
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {status}" for status, n in counts.items())


def _measure(record: Record, base: Record | None, store: Store) -> tuple[dict[str, float], dict[str, str]]:
    """Every column that a record yields, and why the others are missing."""
    given = {**_evaluated(record), **_forgotten(record, base, store), **_trained(record)}
    values = {column: float(value) for column, value in given.items() if isinstance(value, (int, float))}
    return values, {column: value for column, value in given.items() if isinstance(value, str)}


def _evaluated(record: Record) -> dict[str, float | str]:
    result = record["evaluation"]
    scores = [result["scores"][name]["value"] for name in record["target"]]
    return {
        "target_accuracy": statistics.fmean(scores),
        **_drift(record),
        "peak_eval_bytes": _told(result["memory"], "peak_bytes"),
        "decode_tokens_per_second": _decoding(result["decode"]),
        "total_parameters": _told(result["parameters"], "total"),
        "eval_seconds": _told(result["seconds"], "evaluate"),
    }


def _told(values: dict[str, Any] | None, name: str) -> float | str:
    """A number of a record; whoever publishes elsewhere does not tell all that we measure."""
    value = (values or {}).get(name)
    return UNPUBLISHED if value is None else value


def _drift(record: Record) -> dict[str, float | str]:
    change = record["evaluation"]["drift"]
    if change is None:
        return dict.fromkeys(("drift_nll", "drift_kl"), UNPUBLISHED if record.get("imported") else "no drift text")
    rise = change["nll"] - change["base_nll"] if "nll" in change else _told(change, "change")
    return {"drift_nll": rise, "drift_kl": _told(change, "kl")}


def _decoding(decode: dict[str, float] | None) -> float | str:
    if decode is None:
        return UNPUBLISHED
    return decode["tokens"] / decode["seconds"] if decode["tokens"] else "no generation"


def _forgotten(record: Record, base: Record | None, store: Store) -> dict[str, float | str]:
    """Accuracy lost against the base on each retained task, and items that flipped from right to wrong and from wrong to right."""
    if not record["retain"]:
        return dict.fromkeys(("forgetting", "items_lost", "items_gained"), "no retained tasks")
    if base is None:
        return dict.fromkeys(("forgetting", "items_lost", "items_gained"), "no base")
    before, after = store.items(base["id"]), store.items(record["id"])
    columns: dict[str, float | str] = {}
    lost_all, gained_all, drops = 0, 0, []
    for task in record["retain"]:
        old, new = base["evaluation"]["scores"][task], record["evaluation"]["scores"][task]
        drop = (old["value"] - new["value"]) * (1 if new["higher_is_better"] else -1)
        pairs = [(value, after[key]) for key, value in before.items() if key[0] == task and key in after]
        lost, gained = pairs.count((RIGHT, WRONG)), pairs.count((WRONG, RIGHT))
        columns |= {f"score[{task}]": new["value"], f"forgetting[{task}]": drop}
        columns |= {f"items_lost[{task}]": lost, f"items_gained[{task}]": gained}
        drops.append(drop)
        lost_all, gained_all = lost_all + lost, gained_all + gained
    return {"forgetting": statistics.fmean(drops), "items_lost": lost_all, "items_gained": gained_all, **columns}


def _trained(record: Record) -> dict[str, float | str]:
    names = ("peak_train_bytes", "train_tokens_per_second", "trainable_parameters", "artifact_bytes", "load_seconds", "train_seconds")
    spent_names = [f"spent_{currency}" for currency in CURRENCIES]
    if record["train"] is None:
        reason = UNPUBLISHED if record.get("imported") and record["recipe"] != BASE else "not trained"
        return dict.fromkeys((*names, "save_seconds", *spent_names), reason)
    result = record["train"]
    speed, seconds = result["tokens_per_second"], result["seconds"]
    return {
        "peak_train_bytes": _told(result["memory"], "peak_bytes"),
        "train_tokens_per_second": speed if speed is not None else UNPUBLISHED if record.get("imported") else "too few steps",
        "trainable_parameters": _told(result["parameters"], "trainable"),
        "artifact_bytes": _told(result, "artifact_bytes"),
        **{f"{part}_seconds": _told(seconds, part) for part in ("load", "train", "save")},
        **{f"spent_{currency}": _told(result["ledger"]["spent"], currency) for currency in CURRENCIES},
    }
