"""Folders of several machines become one, and no run is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.records.merge import merge
from bench.records.schema import Record, Status
from bench.records.stages import (
    Environment,
    EvaluationSeconds,
    EvaluationStage,
    Parameters,
    Score,
)
from bench.records.store import Store

from ..conftest import Bench


def _result(run: str, status: str = "ok", score: float = 0.5, seconds: float = 1.0) -> Record:
    evaluation = EvaluationStage(
        scores={"t": Score(value=score, metric="acc", higher_is_better=True, items=4)},
        seconds=EvaluationSeconds(evaluate=seconds),
        parameters=Parameters(trainable=1, total=1),
        environment=Environment(device="a machine", libraries={"torch": "2.13.0"}),
    )
    return Record(
        id=run,
        suite="s",
        comparison_key="0123456789",
        recipe=run,
        method="sft",
        status=Status(status),
        reason=None if status == "ok" else "it did not fit",
        seed=0,
        target=["t"],
        evaluation=evaluation if status == "ok" else None,
    )


def _items(file: Path) -> Path:
    pd.DataFrame(
        [("t", "t", i, float(i % 2)) for i in range(4)], columns=["task", "part", "doc_id", "score"]
    ).to_parquet(file)
    return file


def _folder(folder: Path, *records: Record, suite: str = "suite: s\n") -> Path:
    store = Store(folder)
    for record in records:
        store.put(record, folder / "none")
    store.begin(suite, [record.id for record in records])
    return folder


def test_folders_of_several_machines_become_one(tmp_path: Path, bench: Bench) -> None:
    _folder(tmp_path / "a", _result("base"), _result("x", "failed"), _result("y"))
    _folder(
        tmp_path / "b",
        _result("x"),
        _result("y", seconds=9.0),
        _result("z"),
        suite="suite: s\nseeds: 3\n",
    )
    _folder(tmp_path / "c", _result("z", score=0.75), _result("base"))
    Store(tmp_path / "b").put(_result("x"), _items(tmp_path / "x.parquet"))
    result = bench("merge", "a", "b", "c", "--to", "all")
    assert result.returncode == 0, result.stderr
    store = Store(tmp_path / "all")
    assert [record.id for record in store.planned()] == ["base", "x", "y", "z"]
    assert (tmp_path / "all/items/x.parquet").read_bytes() == (tmp_path / "x.parquet").read_bytes()
    assert store.get("x").status == "ok"
    assert store.get("z").scores["t"].value == 0.5
    assert (tmp_path / "all/records/y.json").read_bytes() == (
        tmp_path / "a/records/y.json"
    ).read_bytes()
    assert "x: took the one in b, which is ok; in a it is failed" in result.stderr
    assert (
        "y: kept the one in a; the one in b differs in timing, memory or machine only"
        in result.stderr
    )
    assert "z: kept the one in b; the one in c has other scores: t 0.5 and 0.75" in result.stderr
    assert "b/suite.yaml differs from a/suite.yaml, which was kept:\n  +seeds: 3" in result.stderr
    assert "base" not in result.stderr


def test_a_damaged_record_stops_a_merge_before_anything_is_written(
    tmp_path: Path, bench: Bench
) -> None:
    _folder(tmp_path / "a", _result("x"))
    _folder(tmp_path / "b", _result("y"))
    file = tmp_path / "b/records/y.json"
    file.write_text(file.read_text().replace("0.5", "0.9"))
    result = bench("merge", "a", "b", "--to", "all")
    assert result.returncode == 2
    assert "checksum" in result.stderr
    assert not (tmp_path / "all/records").exists()
    assert bench("merge", "a", tmp_path, "--to", "all").returncode == 2


def test_a_record_cannot_be_put_outside_the_folder(tmp_path: Path, bench: Bench) -> None:
    _folder(tmp_path / "a", _result("x"))
    store = Store(tmp_path / "b")
    store.put(_result("x"), tmp_path / "none")
    (tmp_path / "b/records/x.json").unlink()
    Store(tmp_path / "b/records").put(_result("../evil"), tmp_path / "none")
    for file in (tmp_path / "b").rglob("evil.json"):
        shutil.move(file, tmp_path / "b/records/x.json")
    result = bench("merge", "a", "b", "--to", "all")
    assert result.returncode == 2
    assert "cannot be the name of a file" in result.stderr


RUNS = st.lists(
    st.builds(
        _result,
        st.sampled_from("abcd"),
        st.sampled_from(["ok", "failed"]),
        st.sampled_from([0.25, 0.5]),
    ),
    max_size=4,
    unique_by=lambda record: record.id,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(RUNS, min_size=1, max_size=3))
def test_no_run_is_lost_in_a_merge_and_doing_it_again_changes_nothing(
    tmp_path: Path, machines: list[list[Record]]
) -> None:
    shutil.rmtree(tmp_path, ignore_errors=True)
    folders = [_folder(tmp_path / str(i), *runs) for i, runs in enumerate(machines)]
    for folder in folders:
        (folder / "records").mkdir(exist_ok=True)
    merge(folders, tmp_path / "all")
    found = {record.id: record.status for record in Store(tmp_path / "all").all()}
    everything = [record for runs in machines for record in runs]
    assert found.keys() == {record.id for record in everything}
    assert all((found[r.id] == "ok") or r.status == "failed" for r in everything)
    before = {file: file.read_bytes() for file in (tmp_path / "all").rglob("*") if file.is_file()}
    merge(folders, tmp_path / "all")
    assert before == {
        file: file.read_bytes() for file in (tmp_path / "all").rglob("*") if file.is_file()
    }
