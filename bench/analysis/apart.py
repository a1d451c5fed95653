"""What keeps rows from being compared, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.records.schema import Record
from bench.records.stages import Environment

UNKNOWN = "unknown"


def what_differs(records: Sequence[Record], others: Sequence[Record]) -> str:
    """Each part of what must be shared in which the first records of the groups differ."""
    here, there = _described(records[0]), _described(others[0])
    parts = [
        f"{name}: {here.get(name, UNKNOWN)} here, {there.get(name, UNKNOWN)} there"
        for name in dict.fromkeys((*there, *here))
        if here.get(name) != there.get(name)
    ]
    return "; ".join(parts) or "their comparison keys differ, and the records do not say why"


def _described(record: Record) -> dict[str, str]:
    budget, batch = record.budget, record.batch
    environment = record.evaluation.environment if record.evaluation else Environment()
    found: dict[str, Any] = {
        "suite": record.suite if record.imported else None,
        "model": record.fingerprints.model,
        **{f"data of {name}": value for name, value in record.fingerprints.tasks.items()},
        "drift text": record.fingerprints.drift,
        "target": ", ".join(record.target),
        "retained tasks": ", ".join(record.retain),
        "split": record.split,
        "budget": f"{budget.amount:,.10g} {budget.currency}" if budget else None,
        "batch size": batch.size if batch else None,
        "batch max_length": batch.max_length if batch else None,
        "batch group_by_length": (batch.group_by_length or None) if batch else None,
        "device": environment.device_kind,
        "precision": environment.dtype,
        **dict(_flat(record.imported.compared if record.imported else {}, "")),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _flat(values: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found = []
    for name, value in values.items():
        found += (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else [(prefix + name, value)]
        )
    return found
