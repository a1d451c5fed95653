"""The README shows a real result, and the published results hold together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bench import registry
from bench.report.table import summary
from bench.findings import find
from bench.store import Store

from .conftest import ROOT, Bench

PUBLISHED = sorted(path.parent for path in (ROOT / "results").rglob("plan.json"))


def test_the_readme_table_is_that_of_the_published_records() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- quickstart -->\n(.*?)<!-- /quickstart -->", text, re.S)
    assert shown
    assert shown.group(1) == summary(rows(Store(ROOT / "results/quickstart")))


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_published_records_are_unaltered_and_whole(folder: Path) -> None:
    found = rows(Store(folder))
    named = {entry.get("as", next(iter(entry))) for entry in yaml.safe_load((folder / "suite.yaml").read_text())["methods"]}
    assert {row.recipe for row in found} == named | {"base"}
    assert {row.status for row in found} == {"ok"}


@pytest.mark.parametrize("file", sorted((ROOT / "suites").rglob("*.yaml")), ids=lambda file: file.name)
def test_every_suite_that_ships_can_be_planned(file: Path, bench: Bench) -> None:
    if "suite:" not in file.read_text().split("methods:")[0]:
        pytest.skip("an lm-eval task")
    result = bench("plan", file, "--json")
    missing_data = "no data file" in result.stderr or "no model folder" in result.stderr
    assert result.returncode == (2 if missing_data else 0), result.stderr
    assert not missing_data or file.parent.name == "sst2"


def test_the_page_of_methods_has_one_row_for_each() -> None:
    page = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| name", "| ---"))]
    firsts = [line.split("|")[1].strip() for line in lines]
    named = [name.removesuffix(" (merger)") for first in firsts for name in first.split(", ")]
    assert sorted(named) == sorted([*registry.plugins(), *registry.mergers()])
