"""The table of columns: one entry is all that a measurement needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pandas as pd
import pytest

from bench.analysis import analyze, columns
from bench.analysis.frame import frame
from bench.records.schema import Record
from bench.records.store import Store

from ..conftest import ROOT, Bench

NEW = columns.Column(
    *("measure_seconds", "measuring time", "s", "lower", "measuring\ns"),
    source="train.seconds.measure",
    machine=True,
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / "results/aa", tmp_path / "aa")


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One column more, also where columns were looked up before."""
    with monkeypatch.context() as patched:
        patched.setattr(columns, "COLUMNS", (*columns.COLUMNS, NEW))
        _forget()
        yield
    _forget()


def _forget() -> None:
    columns.every.cache_clear()
    columns.named.cache_clear()


@pytest.mark.usefixtures("one_more")
def test_one_entry_puts_a_measurement_everywhere(results: Path, bench: Bench) -> None:
    printed = bench("report", results).stdout
    records = [r for r in Store(results).planned() if r.recipe == "name-1"]
    usual = fmean((r.train and r.train.seconds.measure) or 0.0 for r in records)
    table = pd.read_csv(results / "report/table.csv").set_index("recipe")
    assert table.loc["name-1", "measure_seconds"] == pytest.approx(usual)
    shown = f"{usual:,.1f} ±"
    assert "measuring" in printed
    assert shown in printed
    markdown = (results / "report/table.md").read_text()
    assert "| measuring time, s |" in markdown
    assert shown in markdown
    quality, cost = (results / "report/table.tex").read_text().split(r"\end{table}")[:2]
    assert r"\shortstack{measuring time\\(s)}" in cost
    assert "measuring time" not in quality
    page = (results / "report/report.html").read_text()
    head = 'data-first="ascending"><button type="button">measuring time<small>s</small></button>'
    assert head in page, "shown at once, and less is better"
    assert '"axis":"measuring time, s (lower is better)"' in page
    (one, *_) = json.loads(bench("diff", results, results, "--json").stdout)["recipes"][1:]
    assert one["ratios"]["measure_seconds"] == 1
    assert "measuring time" in bench("diff", results, results).stdout


def test_every_source_is_a_place_in_a_record(tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "results/classics", tmp_path / "classics")
    store = Store(folder)
    row = "sft (tuned)"
    for record in (r for r in store.planned() if r.recipe == row):
        told = record.model_dump(mode="json")
        told["evaluation"]["drift"]["target_kl"] = 0.5  # records from before lack these
        told["evaluation"]["decode"]["answers"] = 100
        store.put(Record.model_validate(told), folder / "items" / f"{record.id}.parquet")
    table = frame(analyze(store).rows).set_index("recipe")
    for column in columns.every().values():
        if column.source:
            assert table.loc[row, column.name] >= 0, column.source
