"""Recipes through the command line: chains and merges share one budget, hand their models on, and
are rows like any other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file

from bench.accounting.budget import Budget
from bench.methods import registry
from bench.methods.recipe import apply
from bench.testing import tiny_session

from ..conftest import Bench

HEAD = """\
suite: recipes
model: tiny
target: tiny/smallest
retain: [tiny/last]
budget: {steps: 12}
batch: {size: 8, max_length: 64}
seeds: 1
artifacts: keep
methods:
"""
RECIPES = """\
  - chain: [{lora: {lr: 3.0e-3}, share: 0.25}, lora: {lr: 3.0e-3}]
    as: twice
  - merge: [{chain: [sft, lora]}, sft: {lr: 1.0e-3}]
  - chain: [prompt-tuning, sft]
"""


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    found = [
        json.loads(file.read_text()) for file in (folder / "results/recipes/records").glob("*.json")
    ]
    return {r["recipe"]: r for r in found}


@pytest.mark.slow
def test_recipes_are_rows_under_one_budget(bench_process: Bench, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(HEAD + RECIPES)
    result = bench_process("run", "suite.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    found = _records(tmp_path)
    assert set(found) == {"base", "twice", "merge(sft+lora, sft)", "prompt-tuning+sft"}
    for name in ("twice", "merge(sft+lora, sft)"):
        assert found[name]["status"] == "ok"
        assert found[name]["train"]["ledger"]["spent"]["steps"] == 12
    skipped = found["prompt-tuning+sft"]
    assert skipped["status"] == "skipped"
    assert "cannot be merged" in skipped["reason"]

    stages = {look["stage"]: look for look in found["twice"]["train"]["objective"]}
    assert set(stages) == {"0", "1"}
    first, second = stages["0"], stages["1"]
    assert first["after"]["values"]["nll"] < first["before"]["values"]["nll"]
    assert second["before"]["values"]["nll"] == pytest.approx(
        first["after"]["values"]["nll"], rel=1e-4
    ), "what was handed on is what came out"
    assert {look["stage"] for look in found["merge(sft+lora, sft)"]["train"]["objective"]} == {
        "0/0",
        "0/1",
        "1",
    }

    artifact = next((tmp_path / "cache/bench/recipes").glob("twice*")) / "artifact"
    assert (artifact / "adapter_config.json").is_file() and (
        artifact / "start/model.safetensors"
    ).is_file(), "an adapter has its base with it"
    assert "objective" in (tmp_path / "results/recipes/report/table.md").read_text()

    resolved = (tmp_path / "results/recipes/suite.yaml").read_text()
    (tmp_path / "again.yaml").write_text(resolved)
    plan = json.loads(bench_process("plan", "again.yaml", "--json").stdout)
    assert all(run["done"] for run in plan["runs"]), (
        "the suite as resolved asks for the very same runs"
    )
    assert yaml.safe_load(resolved)["methods"][0]["chain"]["parts"][0]["share"] == 0.25


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("chain: [{lora: {rr: 4}}, sft]", "lora has no parameter rr; did you mean r?"),
        ("chain: [sft, lorra]", "there is no method lorra; did you mean lora?"),
        ("chain: [sft]", "two parts or more, this one has 1"),
        ("chain: [{sft: {}, share: 0.9}, {sft: {}, share: 0.3}]", "come to 1.2, not to 1"),
        (
            "merge: {parts: [sft, sft], by: linearr}",
            "there is no merger linearr; did you mean linear?",
        ),
        ("{sft: {}, share: 0.5}", "share: belongs to the parts"),
    ],
)
def test_mistakes_in_recipes_are_told_with_their_line(
    bench: Bench, tmp_path: Path, entry: str, told: str
) -> None:
    (tmp_path / "suite.yaml").write_text(HEAD + f"  - {entry}\n")
    result = bench("plan", tmp_path / "suite.yaml")
    assert result.returncode == 2
    assert told in result.stderr
    assert "line 10" in result.stderr


def test_a_merge_of_a_model_with_itself_is_that_model(tmp_path: Path) -> None:
    chain = registry.usable("merge").model_validate({"parts": ["sft", "sft"]})
    session = tiny_session(tmp_path, Budget("steps", 4))
    made = apply("merge", chain, session)
    parts = [load_file(tmp_path / f"stage-{i}/merged/model.safetensors") for i in (0, 1)]
    assert not all(torch.equal(parts[0][name], parts[1][name]) for name in parts[0]), (
        "parts see the rows in orders of their own"
    )
    for name, tensor in made.state_dict().items():
        if name in parts[0]:
            torch.testing.assert_close(tensor, (parts[0][name] + parts[1][name]) / 2)


def test_shares_are_even_among_the_parts_that_learn() -> None:
    chain = registry.usable("chain").model_validate(
        {"parts": ["sft", {"lora": {}, "share": 0.5}, "sft"]}
    )
    assert chain.shares() == pytest.approx([0.25, 0.5, 0.25])  # pyright: ignore[reportAttributeAccessIssue]


def test_the_reference_of_a_later_stage_is_what_the_stage_before_it_made(tmp_path: Path) -> None:
    from bench.methods.artifact import next_start

    session = tiny_session(tmp_path, Budget("steps", 4))
    lora = registry.usable("lora").model_validate({"lr": 1e-2})
    with session.stage("0", 0.5) as stage:
        model = apply("lora", lora, stage)
    assert isinstance(model, PeftModel)
    batch = session.encode(["smallest of 3 1 2 ?"], [" 1"])
    with stage.unmetered(), torch.no_grad():
        said = model.eval()(**batch).logits
    start = next_start(session, model, "merged")
    with session.stage("1", 1.0, start) as stage, stage.unmetered(), torch.no_grad():
        reference = stage.reference()
        torch.testing.assert_close(reference(**batch).logits, said, atol=1e-5, rtol=1e-5)
        assert not any(p.requires_grad for p in reference.parameters())
