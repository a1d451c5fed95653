"""Layers that torch compiles: the same training and the same charge, in other kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.models.compiled import obstacle

from .. import guide
from ..conftest import Bench
from ..runs import records, write_suite

METHODS = ("sft", "lora", "by-trainer", "grpo")
"""Our own step, an adapter, a trainer of TRL, samples and a step."""


@pytest.mark.slow
@pytest.mark.skipif(obstacle() is not None, reason="no C++ compiler on this machine")
def test_compiled_layers_learn_the_same_at_the_same_charge(
    bench_process: Bench, tmp_path: Path, plugin: Callable[[str, str], str]
) -> None:
    found, path = [], plugin("by-trainer", guide.plugin(guide.BY_TRAINER))
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        folder.mkdir()
        extra = "compile: true\n" if compiled else ""
        write_suite(folder, "".join(f"  - {name}\n" for name in METHODS), "tokens: 6k", "1", extra)
        given = (folder / "suite.yaml", "--results", folder / "results", "--jobs", "1")
        result = bench_process("run", *given, PYTHONPATH=path)
        assert result.returncode == 0, result.stdout + result.stderr
        found.append(records(folder))
    plain, fast = found
    for name in METHODS:
        before, after = (rows[f"{name}-s0"] for rows in (plain, fast))
        assert before["comparison_key"] != after["comparison_key"]
        assert not before["train"]["environment"]["compiled"]
        assert after["train"]["environment"]["compiled"]
        assert _charged(after) == _charged(before)
        for was, now in zip(before["train"]["objective"], after["train"]["objective"], strict=True):
            values = was["after"]["values"]
            assert now["after"]["values"] == pytest.approx(values, rel=1e-3, abs=1e-5)


def _charged(record: dict) -> dict:
    return {k: v for k, v in record["train"]["ledger"]["spent"].items() if k != "seconds"}


def test_without_a_compiler_a_plan_says_what_is_missing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "suite: small\nmodel: tiny\ntarget: tiny/smallest\nbudget: {steps: 2}\n"
        "compile: true\nmethods: [sft]\n"
    )
    (tmp_path / "suite.yaml").write_text(text)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    told = bench("plan", "suite.yaml")
    assert told.returncode == 2
    assert "line 5" in told.stderr and "g++" in told.stderr


def test_several_gpus_are_refused(bench: Bench, tmp_path: Path) -> None:
    text = (
        "suite: small\nmodel: tiny\ntarget: tiny/smallest\nbudget: {steps: 2}\n"
        "compile: true\ngpus: 2\nmethods: [sft]\n"
    )
    (tmp_path / "suite.yaml").write_text(text)
    told = bench("plan", "suite.yaml")
    assert told.returncode == 2
    assert "compile works with one GPU" in told.stderr
