"""Records have a schema: older ones migrate, newer ones are refused, reports need nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.analysis import analyze
from bench.analysis.frame import frame
from bench.methods import registry
from bench.publish.gather import suites_in
from bench.records.schema import SCHEMA_VERSION
from bench.records.store import Store
from bench.system.errors import UserError

from ..conftest import ROOT, Bench

PUBLISHED = [str(folder.relative_to(ROOT / "results")) for folder in suites_in(ROOT / "results")]
STAGE: dict[str, Any] = {
    "status": "ok",
    "seconds": {"load": 1.0, "evaluate": 2.0, "drift": 0.0},
    "memory": {
        "baseline_bytes": 1,
        "peak_bytes": 2,
        "reserved_bytes": None,
        "kind": "resident set",
    },
    "scores": {"t": {"value": 0.5, "metric": "acc", "higher_is_better": True, "items": 4}},
    "drift": None,
    "decode": {"tokens": 0, "seconds": 0.0},
    "generation_config": None,
    "parameters": {"trainable": 1, "total": 1},
    "environment": {"python": "3.12", "libraries": {}, "device": "a", "dtype": "float32"},
}
FIRST: dict[str, Any] = {
    "schema_version": 1,
    "id": "x",
    "suite": "s",
    "setting": "0123456789",
    "recipe": "x",
    "method": "sft",
    "origin": "bench-supervised 0.1.0",
    "parameters": {},
    "seed": 0,
    "status": "ok",
    "reason": None,
    "log": None,
    "target": ["t"],
    "retain": [],
    "split": "test",
    "budget": {"currency": "steps", "amount": 5.0},
    "batch": {"size": 1, "max_length": 8},
    "train": None,
    "evaluation": STAGE,
    "side_by_side": 2,
    "git": None,
}
"""A record as the first version wrote it."""


def _store(folder: Path, record: dict[str, Any]) -> Store:
    """A results folder with one record as it stands on disk."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    checksum = hashlib.sha256(text.encode()).hexdigest()
    (folder / "records").mkdir(parents=True)
    (folder / "records/x.json").write_text(json.dumps({**record, "checksum": checksum}))
    return Store(folder)


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "plugins", dict)
    monkeypatch.setattr(registry, "mergers", dict)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_are_made_again_from_records_alone(name: str, no_plugins: None) -> None:
    folder = ROOT / "results" / name
    old = pd.read_csv(folder / "report/table.csv")
    made = frame(analyze(Store(folder)).whole_rows()).to_csv(index=False)
    new = pd.read_csv(io.StringIO(made))
    pd.testing.assert_frame_equal(new.reindex(columns=old.columns), old, rtol=1e-12)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_records_know_their_methods(name: str) -> None:
    for record in Store(ROOT / "results" / name).all():
        assert bool(record.methods) == (record.method is not None)
        assert all(fact.family and fact.reference for fact in record.methods)


def test_an_analysis_imports_neither_methods_nor_torch() -> None:
    code = (
        "import sys, bench.analysis.results; print([m for m in sys.modules if m == 'torch' or"
        " m.startswith(('bench.methods', 'bench.suite', 'bench.models'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


def test_a_record_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    record = _store(tmp_path, FIRST).get("x")
    assert record.schema_version == SCHEMA_VERSION
    assert (record.comparison_key, record.concurrent_runs) == ("0123456789", 2)
    assert (record.purpose, record.share, record.methods) == ("row", 1.0, [])
    assert record.scores["t"].value == 0.5
    assert record.evaluation is not None
    assert record.evaluation.agreement is None


def test_a_stage_that_failed_is_null_and_its_reason_stays(tmp_path: Path) -> None:
    failed = {"status": "diverged", "reason": "the loss is no number"}
    record = _store(tmp_path, {**FIRST, **failed, "train": failed, "evaluation": None}).get("x")
    assert (record.status, record.reason) == ("diverged", "the loss is no number")
    assert record.train is None
    assert record.failed


def test_an_imported_record_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    imported = {
        "from": "lm-eval",
        "file": "f",
        "created_at": None,
        "setting": {"a": 1},
        "notes": [],
    }
    record = _store(tmp_path, {**FIRST, "imported": imported}).get("x")
    assert record.imported is not None
    assert (record.imported.source, record.imported.compared) == ("lm-eval", {"a": 1})


def test_a_record_of_a_newer_version_is_refused(tmp_path: Path, bench: Bench) -> None:
    _store(tmp_path / "r", {**FIRST, "schema_version": SCHEMA_VERSION + 1, "colour": "blue"})
    result = bench("report", "r")
    assert result.returncode == 2
    assert f"its schema is version {SCHEMA_VERSION + 1}" in result.stderr
    assert "upgrade bench" in result.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": "three"}, "seed"),
        ({"colour": "blue"}, "colour"),
        ({"evaluation": {**STAGE, "scores": {"t": {"value": 0.5}}}}, "evaluation.scores.t.metric"),
        ({"train": 3}, "does not fit"),
    ],
)
def test_what_does_not_fit_the_schema_is_named(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        _store(tmp_path, {**FIRST, **change}).get("x")


def test_a_record_is_written_as_it_was_read(tmp_path: Path) -> None:
    file = next((ROOT / "results/quickstart/records").glob("lora-*.json"))
    store = Store(tmp_path)
    store.put(Store(ROOT / "results/quickstart").get(file.stem), tmp_path / "none")
    assert (tmp_path / "records" / file.name).read_bytes() == file.read_bytes()


def test_the_schema_is_published_and_every_field_of_a_record_is_in_it(bench: Bench) -> None:
    schema = json.loads(bench("schema", "record").stdout)
    file = next((ROOT / "results/quickstart/records").glob("lora-*.json"))
    assert schema["properties"].keys() == json.loads(file.read_text()).keys()
    assert schema["$defs"]["TrainSeconds"]["properties"]["train"]["description"]
    assert "methods" in json.loads(bench("schema").stdout)["properties"], "suites by default"


def test_a_report_needs_no_items(tmp_path: Path, no_plugins: None) -> None:
    shutil.copytree(ROOT / "results/quickstart", tmp_path / "r")
    shutil.rmtree(tmp_path / "r/items")
    rows = {row.recipe: row for row in analyze(Store(tmp_path / "r")).rows}
    assert rows["lora"].means["target_accuracy"] > 0
    assert rows["lora"].missing["items_lost"] == "no items that are right or wrong"
