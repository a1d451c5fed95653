"""Work grows with a suite, not with its square."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.execution.run_suite import known_runs, missing_runs
from bench.records import store as records
from bench.records.store import Store
from bench.report.html import MOST_BYTES
from bench.suite.file import load
from bench.suite.plan import make_plan

from ..conftest import ROOT, Bench

TIMES = 4
GENEROUS = 2 * TIMES
"""What is linear takes four times as long for four times as much, and twice that on a bad day; what
is quadratic takes sixteen times as long.
"""


def growth() -> Any:
    file = ROOT / "tests/benchmarks/growth.py"
    spec = importlib.util.spec_from_file_location("growth", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look
    spec.loader.exec_module(module)
    return module


def _seconds(action: Callable[[], object]) -> float:
    """CPU seconds of this process, the least of three."""
    found = []
    for _ in range(3):
        started = time.process_time()
        action()
        found.append(time.process_time() - started)
    return min(found)


@pytest.mark.slow
def test_a_plan_grows_with_its_runs(tmp_path: Path) -> None:
    sizes = []
    for recipes in (500, 500 * TIMES):
        suite = load(growth().write_suite(tmp_path / f"{recipes}.yaml", recipes, 10))
        assert len({run.id for run in make_plan(suite, "cpu")}) == 10 * recipes + 1
        sizes.append(_seconds(lambda suite=suite: make_plan(suite, "cpu")))
    assert sizes[1] < GENEROUS * sizes[0]


@pytest.mark.slow
def test_results_grow_with_their_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up, reads, times = growth(), [], []
    read = records._read
    monkeypatch.setattr(records, "_read", lambda *given: reads.append(given[0]) or read(*given))
    for count in (200, 200 * TIMES):
        file = made_up.write_suite(tmp_path / f"{count}.yaml", count // 3, 3)
        made: Store = made_up.finish(file, tmp_path / str(count))
        suite = load(file)
        reads.clear()
        opened = Store(made.folder)
        assert not missing_runs(suite, known_runs(suite, "cpu", opened), opened)
        report.write(opened)
        assert not missing_runs(suite, known_runs(suite, "cpu", opened), opened)
        assert len(reads) == len(set(map(str, reads))) == len(opened.asked())
        times.append(_seconds(lambda made=made: report.write(Store(made.folder))))
        page = (made.folder / "report/report.html").read_bytes()
        assert len(page) <= MOST_BYTES
        assert len((made.folder / "report/table.csv").read_text().splitlines()) == count // 3 + 2
    assert times[1] < GENEROUS * times[0]
    assert b"table.csv</a> has all of them" in page


@pytest.mark.slow
def test_a_long_plan_is_shown_in_part(tmp_path: Path, bench: Bench) -> None:
    file = growth().write_suite(tmp_path / "suite.yaml", 30, 30)
    result = bench("plan", file)
    assert result.returncode == 0, result.stderr
    assert "The first 200 of 901 runs; --json prints all." in result.stdout
    assert len(result.stdout.splitlines()) < 600
