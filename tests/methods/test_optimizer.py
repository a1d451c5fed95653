"""AdamW with its state in 8 bits: for all rows alike, in every loop, and never unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bitsandbytes.optim.optimizer import GlobalOptimManager

from bench.accounting.budget import Budget
from bench.methods.recipe import apply
from bench.system.errors import Skipped
from bench.testing import tiny_session

from ..conftest import Bench
from ..little import little, task_for
from ..runs import records, write_suite


def after(name: str, folder: Path, **session: Any) -> Any:
    method = little(name)
    made = tiny_session(folder, Budget("steps", 3), task_for(method), **session)
    try:
        model = apply(name, method, made)
    finally:
        made.close()
    return made, model


@pytest.mark.parametrize("name", ["sft", "ipo", "by-trainer", "kto"])
def test_the_state_is_in_8_bits_but_for_embeddings(name: str, tmp_path: Path) -> None:
    small, model = after(name, tmp_path / "8", optim="adamw_8bit")
    embedded = model.get_input_embeddings().weight.numel()
    little_ones = sum(p.numel() for p in model.parameters() if p.numel() < 4096)
    others = sum(p.numel() for p in model.parameters()) - embedded - little_ones
    expected = 8 * (embedded + little_ones) + 2 * others
    # beside it one scale for each block of 256 entries, and the map of 8-bit values
    assert expected <= small.log.held.optimizer < 1.1 * expected
    whole, _ = after(name, tmp_path / "32")
    assert small.log.held.optimizer < 0.4 * whole.log.held.optimizer


@pytest.mark.parametrize("name", ["sft", "by-trainer"])
def test_what_an_earlier_model_kept_in_32_bits_is_forgotten(name: str, tmp_path: Path) -> None:
    alone, _ = after(name, tmp_path / "alone", optim="adamw_8bit")
    manager = GlobalOptimManager.get_instance()
    manager.index2config |= {(group, at): {"optim_bits": 32} for group in (0, 1) for at in range(9)}
    later, _ = after(name, tmp_path / "later", optim="adamw_8bit")
    assert later.log.held.optimizer == alone.log.held.optimizer


def test_it_learns_what_32_bits_learn(tmp_path: Path) -> None:
    found = []
    for optim in ("adamw", "adamw_8bit"):
        session = tiny_session(tmp_path / optim, Budget("steps", 40), optim=optim)
        apply("sft", little("sft", lr=1e-3), session)
        session.close()
        found.append(session.log.losses)
    whole, small = found
    assert small[0] == whole[0] and small[-1] < 0.7 * small[0]
    assert small[-1] == pytest.approx(whole[-1], rel=0.1)
    assert small != whole


def test_an_optimizer_of_ones_own_is_a_skipped_row(tmp_path: Path) -> None:
    for name in ("lora-plus", "adam-mini"):
        with pytest.raises(Skipped, match="brings an optimizer of its own"):
            after(name, tmp_path / name, optim="adamw_8bit")


@pytest.mark.slow
def test_a_suite_with_8_bits(bench_process: Bench, tmp_path: Path) -> None:
    keys = []
    for extra in ("", "optimizer: adamw_8bit\n"):
        folder = tmp_path / ("8" if extra else "32")
        folder.mkdir()
        write_suite(folder, "  - sft\n  - dpo\n  - muon\n", "tokens: 3k", "1", extra)
        given = (folder / "suite.yaml", "--results", folder / "results")
        result = bench_process("run", *given)
        assert result.returncode == 0, result.stdout + result.stderr
        found = records(folder)
        keys.append({record["comparison_key"] for record in found.values()})
        if extra:
            assert found["sft-s0"]["status"] == found["dpo-s0"]["status"] == "ok"
            assert found["muon-s0"]["status"] == "skipped"
            assert "brings an optimizer of its own" in found["muon-s0"]["reason"]
    assert len(keys[0]) == len(keys[1]) == 1 and keys[0] != keys[1]


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("optimizer: sgd", "optimizer"),
        ("optimizer: adamw_8bit\ngpus: 2", "works with one GPU"),
    ],
)
def test_what_cannot_be_is_told_before_training(
    lines: str, what: str, bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "suite.yaml").write_text(
        "suite: o\nmodel: tiny\ntarget: tiny/smallest\nbudget: {steps: 2}\n"
        f"seeds: 1\nmethods: [sft]\n{lines}\n"
    )
    result = bench("plan", "suite.yaml")
    assert result.returncode == 2
    assert what in result.stderr and "Traceback" not in result.stderr
