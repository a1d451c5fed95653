"""Records on disk: whole or not at all, and not to be altered unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import Analysis, Group
from bench.analysis.rows import Row
from bench.records.schema import Record, Status
from bench.records.store import Store
from bench.report.markdown import markdown
from bench.system.errors import UserError
from bench.system.files import write_atomically
from bench.system.location import location

from ..conftest import ROOT, Bench

RECORD = Record(
    id="a-s0-1",
    suite="s",
    comparison_key="k",
    recipe="a",
    seed=0,
    status=Status.FAILED,
    target=["t"],
)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(RECORD, tmp_path / "no-items")
    assert store.has("a-s0-1")
    assert store.get("a-s0-1") == RECORD
    assert store.items("a-s0-1") == {}


@pytest.mark.parametrize("where", ["{}/results", "memory://outcomes"])
def test_a_record_never_stands_beside_the_outcomes_of_another(tmp_path: Path, where: str) -> None:
    source = Store(ROOT / "results/quickstart")
    record = source.planned()[0]
    store = Store(location(where.format(tmp_path)))
    store.put(record, source.items_file(record.id))
    assert store.items(record.id)
    store.put(record, tmp_path / "no-items")
    assert store.items(record.id) == {}
    assert store.get(record.id) == record


def test_an_altered_record_is_refused(tmp_path: Path, bench: Bench) -> None:
    store = Store(tmp_path / "results")
    store.put(RECORD, tmp_path / "no-items")
    file = tmp_path / "results/records/a-s0-1.json"
    file.write_text(file.read_text().replace("failed", "ok"))
    with pytest.raises(UserError, match="checksum"):
        store.get("a-s0-1")
    result = bench("report", "results")
    assert result.returncode == 2
    assert "checksum" in result.stderr


def test_a_folder_without_results_is_told(tmp_path: Path, bench: Bench) -> None:
    result = bench("report", tmp_path)
    assert result.returncode == 2
    assert "holds no results" in result.stderr


def test_a_second_run_of_the_same_suite_is_kept_away(tmp_path: Path) -> None:
    with (
        Store(tmp_path).lock(),
        pytest.raises(UserError, match="another bench run"),
        Store(tmp_path).lock(),
    ):
        pass


def test_writing_leaves_nothing_half_done(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "file.json"
    write_atomically(file, "old")
    write_atomically(file, json.dumps({"new": True}))
    assert json.loads(file.read_text()) == {"new": True}
    assert [f.name for f in file.parent.iterdir()] == ["file.json"]
    (file.parent / "folder.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(file.parent / "folder.json", "no file can take its place")
    assert {f.name for f in file.parent.iterdir()} == {"file.json", "folder.json"}


def test_a_file_that_goes_while_a_folder_is_listed_is_not_missed(tmp_path: Path) -> None:
    """As one does that is being written, when it gets its name."""
    store = Store(tmp_path)
    store.put(RECORD, tmp_path / "no-items")
    (tmp_path / "records/.b-s0-2.json-abcdefgh").symlink_to("gone")
    assert store.all() == [RECORD]


@settings(max_examples=50)
@given(st.text(max_size=30), st.text(max_size=30))
def test_no_name_can_break_out_of_its_cell(recipe: str, reason: str) -> None:
    rows = [
        Row(recipe, "failed", reason, 0, ("tokens", 10.0)),
        Row("b", "failed", None, 0, ("tokens", 10.0)),
    ]
    text = markdown(Analysis(recipe, reason, [Group(rows, apart=reason)], 0.95), [])
    assert "<" not in text
    grid = [line for line in text.split("\n") if line.startswith("|")]
    assert len(grid) == 4
    assert {line.replace("\\|", "").count("|") for line in grid} == {5}
