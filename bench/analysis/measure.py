"""From the records of one recipe to its row: each column's mean and spread over seeds, or the
reason why there is none.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

from bench.analysis import columns
from bench.analysis.answers import Answers
from bench.analysis.rows import Objective, Row
from bench.records.schema import BASE, Record

UNPUBLISHED = "not published"
"""Why a number of an imported row is missing."""
REASONS = {"tokens_per_second": "too few steps"}
"""Why a number of our own is missing, by its name in the record."""


def row(recipe: str, records: list[Record], base: Record | None, answers: Answers) -> Row:
    """All that the records of one recipe say, one per seed."""
    fine = [r for r in records if r["status"] == "ok"]
    others = [r for r in records if r["status"] != "ok"]
    budget = records[0]["budget"] or {
        "currency": "unknown",
        "amount": math.nan,
    }  # lm-eval tells nothing of the training
    made = Row(
        recipe,
        _status(records),
        others[0]["reason"] if others else None,
        len(fine),
        (budget["currency"], budget["amount"]),
    )
    measured = [_measure(r, base, answers) for r in fine]
    for column in dict.fromkeys(c for values, _ in measured for c in values):
        found = [values[column] for values, _ in measured if column in values]
        made.means[column] = columns.named(column).average(found)
        if len(found) > 1:
            made.spreads[column] = statistics.stdev(found)
    made.missing[f"spent_{made.budget[0]}"] = (
        UNPUBLISHED if records[0]["budget"] is None else made.status
    )
    for _, reasons in measured:
        made.missing |= reasons
    made.ledger = _ledger(fine)
    made.objectives = _objectives(
        [r["train"]["objective"] for r in fine if (r["train"] or {}).get("objective")]
    )
    return made


def _ledger(records: list[Record]) -> dict[str, dict[str, float]]:
    """What was spent by purpose, a mean over seeds; a purpose that a seed did without counts as
    nothing there.
    """
    told = [(record["train"] or {}).get("ledger", {}).get("by_purpose", {}) for record in records]
    purposes = dict.fromkeys(purpose for ledger in told for purpose in ledger)
    return {
        purpose: {
            currency: (
                sum(ledger.get(purpose, {}).get(currency) or 0.0 for ledger in told) / len(told)
            )
            for currency in dict.fromkeys(c for ledger in told for c in ledger.get(purpose, {}))
        }
        for purpose in purposes
    }


def _objectives(by_seed: list[list[dict[str, Any]]]) -> list[Objective]:
    """What each stage itself optimised; a stage that could not be measured is left out."""
    found: dict[tuple[str, str, str, str | None], list[tuple[float, float]]] = {}
    for look in (look for looks in by_seed for look in looks):
        before, after = look["before"].get("values", {}), look["after"].get("values", {})
        for name in before.keys() & after.keys():
            key = (
                look["stage"],
                look["method"],
                name,
                look["better"] if name == look["goal"] else None,
            )
            found.setdefault(key, []).append((before[name], after[name]))
    return [
        Objective(*key, *(statistics.fmean(column) for column in zip(*pairs, strict=True)))
        for key, pairs in sorted(found.items(), key=str)
    ]


def _status(records: list[Record]) -> str:
    counts: dict[str, int] = {}
    for record in records:
        counts[record["status"]] = counts.get(record["status"], 0) + 1
    return (
        next(iter(counts))
        if len(counts) == 1
        else ", ".join(f"{n} {status}" for status, n in counts.items())
    )


def _measure(
    record: Record, base: Record | None, answers: Answers
) -> tuple[dict[str, float], dict[str, str]]:
    """Every column that a record yields, and why the others are missing."""
    given = {**_scored(record), **_forgotten(record, base, answers), **recorded(record)}
    values = {
        column: float(value) for column, value in given.items() if isinstance(value, (int, float))
    }
    return values, {column: value for column, value in given.items() if isinstance(value, str)}


def recorded(record: Record) -> dict[str, float | str]:
    """Every column that stands in one record as a number, or the reason why it does not."""
    found = {
        column.name: _found(record, *column.source.split("."))
        for column in columns.every().values()
        if column.source
    }
    return found | {"decode_tokens_per_second": _decoding(record["evaluation"]["decode"])}


def _found(record: Record, stage: str, *path: str) -> float | str:
    """What a record holds at one place, or why it holds nothing there."""
    elsewhere = record.get("imported")
    value: Any = record[stage]
    if value is None:
        return UNPUBLISHED if elsewhere and record["recipe"] != BASE else "not trained"
    for name in path:
        value = (value or {}).get(name)
    if value is None:
        return UNPUBLISHED if elsewhere else REASONS.get(path[-1], "not measured")
    return value


def _scored(record: Record) -> dict[str, float | str]:
    scores = record["evaluation"]["scores"]
    accuracy = statistics.fmean(scores[name]["value"] for name in record["target"])
    return {"target_accuracy": accuracy, **_drift(record)}


def _drift(record: Record) -> dict[str, float | str]:
    change = record["evaluation"]["drift"]
    if change is None:
        return dict.fromkeys(
            ("drift_nll", "drift_kl"), UNPUBLISHED if record.get("imported") else "no drift text"
        )
    rise = change["nll"] - change["base_nll"] if "nll" in change else change.get("change")
    return {
        name: UNPUBLISHED if value is None else value
        for name, value in (("drift_nll", rise), ("drift_kl", change.get("kl")))
    }


def _decoding(decode: dict[str, float] | None) -> float | str:
    if decode is None:
        return UNPUBLISHED
    return decode["tokens"] / decode["seconds"] if decode["tokens"] else "no generation"


def _forgotten(record: Record, base: Record | None, answers: Answers) -> dict[str, float | str]:
    """Accuracy lost against the base on each retained task, and items that flipped from right to
    wrong and from wrong to right.
    """
    if not record["retain"]:
        return dict.fromkeys(("forgetting", "items_lost", "items_gained"), "no retained tasks")
    if base is None:
        return dict.fromkeys(("forgetting", "items_lost", "items_gained"), "no base")
    columns: dict[str, float | str] = {}
    lost_all, gained_all, drops = 0, 0, []
    for task in record["retain"]:
        old, new = base["evaluation"]["scores"][task], record["evaluation"]["scores"][task]
        drop = (old["value"] - new["value"]) * (1 if new["higher_is_better"] else -1)
        columns |= {f"score[{task}]": new["value"], f"forgetting[{task}]": drop}
        drops.append(drop)
        if (flips := answers.flipped(base, record, task)) is None:
            columns |= dict.fromkeys(
                ("items_lost", "items_gained"), "no items that are right or wrong"
            )
        else:
            columns |= {f"items_lost[{task}]": flips.lost, f"items_gained[{task}]": flips.gained}
            lost_all, gained_all = lost_all + flips.lost, gained_all + flips.gained
    return {
        "forgetting": statistics.fmean(drops),
        "items_lost": lost_all,
        "items_gained": gained_all,
        **columns,
    }
