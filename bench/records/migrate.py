"""Older records made what a record is today, one step per version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.records.schema import SCHEMA_VERSION

Step = Callable[[dict[str, Any]], dict[str, Any]]


def migrated(body: dict[str, Any]) -> dict[str, Any]:
    """A record of any older version, in the shape of the present one."""
    while body["schema_version"] < SCHEMA_VERSION:
        version = body["schema_version"]
        body = {**STEPS[version](body), "schema_version": version + 1}
    return body


def _from_1(body: dict[str, Any]) -> dict[str, Any]:
    """Two fields have new names, and a stage that did not end well is null."""
    names = {"setting": "comparison_key", "side_by_side": "concurrent_runs"}
    made = {names.get(key, key): value for key, value in body.items()}
    for stage in ("train", "evaluation"):
        made[stage] = _ended_well(made[stage])
    if imported := made.get("imported"):
        names = {"from": "source", "setting": "compared"}
        made["imported"] = {names.get(key, key): value for key, value in imported.items()}
    return made


def _ended_well(stage: dict[str, Any] | None) -> dict[str, Any] | None:
    if stage is None or stage["status"] != "ok":
        return None
    return {key: value for key, value in stage.items() if key != "status"}


STEPS: dict[int, Step] = {1: _from_1}
