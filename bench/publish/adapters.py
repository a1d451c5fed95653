"""Adapters that runs left in the cache or where their suite puts them, copied to where results are
published, each with its model card.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.publish import eval_results
from bench.publish.card import card, is_place, without_places
from bench.publish.gather import Published
from bench.records.schema import BASE, Purpose, Record
from bench.report.html import facts
from bench.system import smollm2
from bench.system.files import write_atomically
from bench.system.location import Location, get_folder, location

CONFIG, MANIFEST = "adapter_config.json", "artifact.json"


def publish_adapters(suite: Published, cache: Path, to: Path) -> list[str]:
    """Copy every adapter of a suite's rows that can still be found into `to/<run>/`; gives the runs
    whose adapters went along.

    Those of trials and of failed runs stay where they are, and so do models trained in full.
    """
    base = next((r for r in suite.records if r.recipe == BASE and r.ok), None)
    given = facts.suite(suite.analysis)
    gone_along = []
    for record in suite.records:
        artifact = _place(record, cache, given.get("artifacts", ""))
        if record.ok and record.purpose is Purpose.ROW and _is_adapter(artifact):
            _copy(record, base, artifact, to / record.id, given)
            gone_along.append(record.id)
    return gone_along


def _place(record: Record, cache: Path, artifacts: str) -> Location:
    """Where a run's artifact lies, if it has one: in the cache, or at the suite's address."""
    here = cache / record.suite / record.id / "artifact"
    if here.is_dir() or "://" not in artifacts:
        return here
    return location(artifacts) / record.suite / record.id


def _is_adapter(artifact: Location) -> bool:
    """Whether it goes onto a start model: one of PEFT's, or a form of its method's own."""
    if (artifact / CONFIG).is_file():
        return True
    manifest = artifact / MANIFEST
    return manifest.is_file() and json.loads(manifest.read_text())["form"] == "own"


def _copy(
    record: Record, base: Record | None, artifact: Location, to: Path, suite: dict[str, Any]
) -> None:
    model, hub_id = named_start(suite.get("model", {}))
    get_folder(artifact, to)
    if by_peft := (to / CONFIG).is_file():
        config = without_places(json.loads((to / CONFIG).read_text(encoding="utf-8")))
        named = {**config, "base_model_name_or_path": hub_id or model}
        write_atomically(to / CONFIG, json.dumps(named, indent=2) + "\n")
    write_atomically(
        to / "README.md", card(record, base, model, hub_id, "peft" if by_peft else None)
    )
    if scores := eval_results.eval_results(record):
        write_atomically(to / eval_results.FILE, scores)


def named_start(start: dict[str, Any]) -> tuple[str, str | None]:
    """What people call a start model, and the id on the Hub of what an adapter goes onto."""
    given = start.get("path")
    if not given:
        return f"random {start.get('random')}", None
    if given == smollm2.NAME:
        return smollm2.ABOUT, smollm2.HUB_ID
    local = is_place(given) or "/" not in given or given.endswith(".gguf")
    return str(without_places(given)), None if local else given
