"""The door for notebooks: what is in a results folder, as DataFrames and objects."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bench
from bench.system.errors import UserError

from ..conftest import ROOT

SUITE: dict[str, Any] = {
    "suite": "mine",
    "model": "tiny",
    "target": "tiny/smallest",
    "budget": {"tokens": "2k"},
    "seeds": 1,
    "split": "validation",
    "methods": ["sft"],
}


def test_the_cell_in_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = re.findall(r"```python\n(.*?)```", (ROOT / "docs/notebooks.md").read_text(), re.DOTALL)[
        0
    ]
    *first, last = cell.strip().splitlines()
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec("\n".join(first), names)
    table = eval(last, names)
    assert isinstance(table, pd.DataFrame)
    published = pd.read_csv(ROOT / "results/classics/report/table.csv")
    assert list(table["recipe"]) == list(published["recipe"])
    assert list(table["target_accuracy"]) == pytest.approx(list(published["target_accuracy"]))


def test_records_items_and_analysis() -> None:
    results = bench.load(str(ROOT / "results/quickstart"))
    records = results.records
    assert list(records["id"]) == [run.id for run in results.runs]
    trained = [run.train.seconds.train for run in results.runs if run.train]
    assert list(records["train.seconds.train"].dropna()) == trained
    means: Any = results.items.groupby(["run", "task"])["score"].mean()
    scores = {(run.id, task): s.value for run in results.runs for task, s in run.scores.items()}
    assert means.to_dict() == pytest.approx(scores)
    assert [row.recipe for row in results.analysis.rows] == list(results.table["recipe"])


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_results_is_an_error(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UserError, match="holds no results"):
        bench.load(tmp_path / folder)


def test_mistakes_in_a_dictionary_are_listed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sftt"):
        bench.run({**SUITE, "methods": ["sftt"]}, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_suite_runs_from_a_dictionary_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    results = bench.run(SUITE, tmp_path / "results", jobs=1)
    assert list(results.table["recipe"]) in (["base", "sft"], ["sft", "base"])
    assert set(results.table["status"]) == {"ok"}
    assert (tmp_path / "results/mine/report/table.csv").is_file()
    files = sorted((tmp_path / "results/mine/records").iterdir())
    before = [file.stat().st_mtime_ns for file in files]
    bench.run(SUITE, tmp_path / "results", jobs=1)
    assert [file.stat().st_mtime_ns for file in files] == before, "nothing is repeated"
    assert capfd.readouterr().out == ""
