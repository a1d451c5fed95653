"""The README shows a real result, and the published results hold together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bench.analysis import analyze
from bench.methods import registry
from bench.publish.gather import suites_in
from bench.records.store import Store
from bench.report.table import summary
from bench.suite.plan import tuned_label

from .conftest import ROOT, Bench
from .suite.test_gpu_suites import SPEED

ON_A_GPU = ("metamath", "alignment", *SPEED)
MISSING = ("no data file", "no model folder", "HF_HUB_OFFLINE forbids")
PUBLISHED = suites_in(ROOT / "results")


def test_the_readme_table_is_that_of_the_published_records() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- sentiment -->\n(.*?)<!-- /sentiment -->", text, re.S)
    assert shown
    assert shown.group(1) == summary(analyze(Store(ROOT / "results/smollm2/sentiment")).rows)


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_published_records_are_unaltered_and_whole(folder: Path) -> None:
    found = analyze(Store(folder)).rows
    assert {row.status for row in found if not row.reason} == {"ok"}
    assert {row.status for row in found} <= {"ok", "skipped"}
    if not (folder / "suite.yaml").is_file():  # imported
        assert all(row.imported for row in found)
        return
    suite = yaml.safe_load((folder / "suite.yaml").read_text())
    named = {entry.get("as", next(iter(entry))) for entry in suite["methods"]}
    rows, tuning = {row.recipe for row in found}, suite.get("tuning") or {}
    tuned = {tuned_label(name) for name in named} if tuning else set()
    if tuning.get("defaults", True):
        assert named <= rows
    assert all(name in rows or tuned_label(name) in rows for name in named)
    assert {"base"} <= rows <= named | {"base"} | tuned
    assert len(rows & tuned) >= len(tuned) // 2


@pytest.mark.parametrize(
    "file", sorted((ROOT / "suites").rglob("*.yaml")), ids=lambda file: file.name
)
def test_every_suite_that_ships_can_be_planned(file: Path, bench: Bench) -> None:
    if "suite:" not in file.read_text().split("methods:")[0]:
        pytest.skip("an lm-eval task")
    if file.parent.name == "gpu" and file.stem in ON_A_GPU:
        pytest.skip("needs the Hub or much memory; test_gpu_suites.py plans it on small data")
    result = bench("plan", file, "--json")
    missing_data = any(told in result.stderr for told in MISSING)
    assert result.returncode == (2 if missing_data else 0), result.stderr
    assert not missing_data or file.parent.name in ("smollm2", "gpu")


def test_the_page_of_methods_has_one_row_for_each() -> None:
    page = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    lines = [
        line
        for line in page.splitlines()
        if line.startswith("| ") and not line.startswith(("| name", "| ---"))
    ]
    firsts = [line.split("|")[1].strip() for line in lines]
    named = [name.removesuffix(" (merger)") for first in firsts for name in first.split(", ")]
    assert sorted(named) == sorted([*registry.plugins(), *registry.mergers()])


def test_the_page_says_what_each_method_says_of_how_it_was_verified() -> None:
    told = {name: row[4] for name, row in _methods_page().items()}
    said = {name: registry.usable(name).verified for name in told}
    assert said == told


def test_the_page_says_which_adapters_cannot_be_merged() -> None:
    told = {name for name, row in _methods_page().items() if "cannot be merged" in row[5]}
    assert told == {name for name in _methods_page() if registry.usable(name).unmerged}


def _methods_page() -> dict[str, list[str]]:
    """The cells of each method with a line of its own, by name."""
    page = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in page.splitlines()
        if line.startswith("| ")
    ]
    known = registry.plugins()
    return {row[0]: row for row in cells if len(row) == 6 and row[0] in known}


def test_one_method_under_many_names_is_tied_with_itself() -> None:
    rows = [row for row in analyze(Store(ROOT / "results/aa")).rows if row.recipe != "base"]
    assert len(rows) == 8
    assert len({row.means["target_accuracy"] for row in rows}) > 1, "seeds do matter here"
    assert {row.tie_groups for row in rows} == {"a"}
