"""Ranges that a suite searches in instead of those that methods declare."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from scipy.stats import qmc

from bench.methods.entry import resolve
from bench.suite.search import draws

from ..conftest import Bench
from .test_tuning import SUITE


def test_a_range_in_the_suite_stands_in_for_the_declared_one(bench: Bench, tmp_path: Path) -> None:
    ranged = SUITE.replace("lora_dropout: 0.0", "lora_dropout: 0.0, lr: {low: 1.0e-3, high: 0.1}")
    chain = "  - chain: [sft, {dpo: {lr: {low: 1.0e-5, high: 1.0e-4}, beta: 0.3}}]\n"
    (tmp_path / "s.yaml").write_text(ranged.replace("trials: 2", "trials: 3") + chain)
    planned = json.loads(bench("plan", "s.yaml", "--json").stdout)
    kept = yaml.safe_load(planned["suite"])["methods"]
    assert kept[1]["lora"]["lr"] == {"low": 1e-3, "high": 0.1}
    assert kept[-1]["chain"]["parts"][1]["dpo"]["lr"] == {"low": 1e-5, "high": 1e-4}
    (tmp_path / "again.yaml").write_text(planned["suite"])
    assert json.loads(bench("plan", "again.yaml", "--json").stdout)["runs"] == planned["runs"]
    points = qmc.Halton(d=1, scramble=True, rng=0).random(3)[:, 0]
    drawn = draws(resolve("lora", {"r": 4, "lr": {"low": 1e-3, "high": 0.1}}), 3, 0)
    assert [d.drawn["lr"] for d in drawn] == pytest.approx(1e-3 * 100**points, rel=5e-3)
    assert all(d.parameters["r"] == 4 and d.parameters["lr"] == d.drawn["lr"] for d in drawn)
    (rate,) = (d.parameters[0]["sft"]["lr"] for d in draws(resolve("chain", [RANGED, "sft"]), 1, 0))
    assert 1e-5 <= rate <= 1e-4
    default = resolve("sft", RANGED["sft"]).parameters["lr"]
    assert default == resolve("sft", {}).parameters["lr"], "a row with the defaults keeps them"


RANGED = {"sft": {"lr": {"low": 1e-5, "high": 1e-4}}}
BAD_RANGES = {
    "one end": ("{low: 1.0e-3}", "write a range to search as {low: 1.0e-5, high: 1.0e-3}"),
    "wrong order": ("{low: 2, high: 1}", "low must be less than high, not 2 and 1"),
    "of a logarithm": ("{low: 0, high: 1}", "low must be more than 0, not 0"),
    "no number": ("{low: much, high: 1}", "low and high must be numbers, not 'much' and 1"),
}


@pytest.mark.parametrize("name", BAD_RANGES)
def test_a_range_that_cannot_be_searched(name: str, bench: Bench, tmp_path: Path) -> None:
    written, told = BAD_RANGES[name]
    (tmp_path / "s.yaml").write_text(SUITE.replace("lr: 1.0e-3", f"lr: {written}"))
    result = bench("plan", "s.yaml")
    assert result.returncode == 2
    assert told in result.stderr and "line 13" in result.stderr


def test_a_range_needs_a_search_and_a_number(bench: Bench, tmp_path: Path) -> None:
    without = SUITE.replace("tuning: {trials: 2, share: 0.5}\n", "")
    (tmp_path / "s.yaml").write_text(without.replace("lr: 1.0e-3", "lr: {low: 1.0e-3, high: 1}"))
    assert "lr is a range to search, which needs tuning:" in bench("run", "s.yaml").stderr
    (tmp_path / "s.yaml").write_text(SUITE.replace("r: 4", "r: {low: 4, high: 8}"))
    refused = bench("run", "s.yaml")
    assert refused.returncode == 2
    assert "r: it is one of 4 | 8 | 16 | 32 | 64" in refused.stderr
