"""What keeps rows from being compared, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.records.schema import Record

UNKNOWN = "not told"


def what_differs(records: Sequence[Record], others: Sequence[Record]) -> str:
    """Each part of the setting in which the first record of one group differs from that of the
    other.
    """
    here, there = _described(records[0]), _described(others[0])
    parts = [
        f"{name}: {here.get(name, UNKNOWN)} here, {there.get(name, UNKNOWN)} there"
        for name in dict.fromkeys((*there, *here))
        if here.get(name) != there.get(name)
    ]
    return (
        "; ".join(parts)
        or "their settings have other fingerprints, and the records do not tell why"
    )


def _described(record: Record) -> dict[str, str]:
    given = record.get("fingerprints") or {}
    budget, environment = (
        record["budget"],
        (record.get("evaluation") or {}).get("environment") or {},
    )
    told: dict[str, Any] = {
        "suite": record["suite"] if record.get("imported") else None,
        "model": given.get("model"),
        **{f"data of {name}": value for name, value in (given.get("tasks") or {}).items()},
        "drift text": given.get("drift"),
        "target": ", ".join(record["target"]),
        "retained tasks": ", ".join(record["retain"]),
        "split": record["split"],
        "budget": f"{budget['amount']:,.10g} {budget['currency']}" if budget else None,
        **{f"batch {name}": value for name, value in (record["batch"] or {}).items()},
        "device": environment.get("device_kind"),
        "precision": environment.get("dtype"),
        **dict(_flat((record.get("imported") or {}).get("setting") or {}, "")),
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def _flat(values: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found = []
    for name, value in values.items():
        found += (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else [(prefix + name, value)]
        )
    return found
