"""A row of a finished table, run once more: whether it comes out the same, and what the report says
of it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.records.store import Store

from ..conftest import Bench, run_in

SUITE = """suite: pair
model: tiny
target: tiny/smallest
retain: [tiny/last]
budget: {tokens: 6k}
seeds: [0]
split: validation
methods: [{sft: {lr: 1e-3}}, {lora: {lr: 3e-3}}]
"""


def _forged(store: Store, recipe: str) -> None:
    """Turn every answer of a recipe on the target round, as if better numbers had been made up."""
    record = next(record for record in store.all() if record.recipe == recipe)
    items = store.items_table(record.id)
    assert items is not None
    turned = [
        1 - score if task == "tiny/smallest" else score
        for task, score in zip(*(items[c].to_pylist() for c in ("task", "score")), strict=True)
    ]
    place = items.column_names.index("score")
    file = store.folder / "forged.parquet"
    pq.write_table(items.set_column(place, "score", pa.array(turned)), file)
    body = record.model_dump(mode="json")
    score = body["evaluation"]["scores"]["tiny/smallest"]
    score["value"] = 1 - score["value"]
    store.put(type(record).model_validate(body), file)


@pytest.mark.slow
def test_rows_are_run_once_more_and_confirmed_or_not(tmp_path: Path) -> None:
    (tmp_path / "pair.yaml").write_text(SUITE)
    assert run_in(tmp_path, "run", "pair.yaml", "--quiet").returncode == 0
    store = Store(tmp_path / "results/pair")
    published = {record.id: record for record in store.all()}

    done = run_in(tmp_path, "confirm", "pair.yaml", "lora")
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()[-1]
    assert told.startswith("lora: re-run and confirmed on ")
    assert "100.0% of the target's items answered as before" in told
    assert {record.recipe for record in store.again.all()} == {"base", "lora"}
    assert {record.id: record for record in store.all()} == published
    for report in ("table.md", "report.html"):
        assert "re-run and confirmed" in (store.report / report).read_text()

    _forged(store, "sft")
    done = run_in(tmp_path, "confirm", "pair.yaml", "sft")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("sft: re-run, not confirmed on ")
    assert "2 already done" not in done.stdout
    assert "1 already done" in done.stdout  # the base


def test_what_was_never_run_cannot_be_confirmed(tmp_path: Path, bench: Bench) -> None:
    (tmp_path / "pair.yaml").write_text(SUITE)
    result = bench("confirm", "pair.yaml", "lore")
    assert result.returncode == 2
    assert 'has no row "lore"; its rows are base, sft, lora' in result.stderr
    result = bench("confirm", "pair.yaml", "lora")
    assert result.returncode == 2
    assert "holds no result of base, seed 0" in result.stderr


def test_an_overview_takes_what_was_run_once_more_for_no_suite(
    tmp_path: Path, bench: Bench
) -> None:
    folder = tmp_path / "results/pair/again/records"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps({}))
    result = bench("overview", "results", "page.md")
    assert result.returncode == 2
    assert "holds no results" in result.stderr
