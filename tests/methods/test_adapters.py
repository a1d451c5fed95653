"""Methods that train an adapter in place of all parameters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench import Adaptable
from bench.accounting.budget import Budget
from bench.methods import registry
from bench.methods.artifact import own_loader, save_result
from bench.methods.recipe import apply, obstacle
from bench.methods.scorer import load_scorer
from bench.models.artifact import open_artifact
from bench.models.start import load_start
from bench.testing import tiny_session

from ..conftest import Bench
from ..little import first_rows, little, task_for

CPU = torch.device("cpu")
ADAPTABLE = sorted(
    name
    for name, plugin in registry.plugins().items()
    if plugin.method and issubclass(plugin.method, Adaptable)
)
SUITE = """
suite: adapters
model: tiny
target: tiny/smallest
retain: [tiny/largest]
budget: {tokens: 4k}
batch: {size: 16, max_length: 64}
seeds: 1
methods:
"""


def bare(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def test_sft_in_lora_is_lora(tmp_path: Path) -> None:
    made = {
        "lora": little("lora", lr=3e-3, r=4),
        "sft": little("sft", lr=3e-3, adapter={"lora": {"r": 4}}),
    }
    found = []
    for name, one in made.items():
        session = tiny_session(tmp_path / name, Budget("steps", 4))
        model = apply(name, one, session)
        found.append({n: p.detach() for n, p in model.named_parameters() if p.requires_grad})
        assert session.ledger.spent("tokens") > 0
    assert found[0].keys() == found[1].keys()
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, rtol=0, atol=0)
    assert any(bool(weight.any()) for name, weight in found[0].items() if "lora_B" in name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTABLE)
def test_every_adaptable_method_leaves_the_base_alone(name: str, tmp_path: Path) -> None:
    made = little(name, adapter={"lora": {"r": 2}})
    session = tiny_session(tmp_path / "work", Budget("tokens", 4000), task_for(made))
    session.task = first_rows(session.task)
    if reason := obstacle(made, session):
        assert name == "stepwise-dpo", reason
        return
    spec = session.start.spec
    model = apply(name, made, session)
    session.log.settle()
    before = load_start(session.start, torch.float32, CPU).state_dict()
    for key, weight in model.state_dict().items():
        if "lora_" not in key:
            torch.testing.assert_close(weight, before[bare(key)], rtol=0, atol=0)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        n for n, _ in model.named_parameters() if "lora_" in n
    }
    save_result(session, model, tmp_path / "saved", spec)
    assert (tmp_path / "saved" / "adapter_model.safetensors").is_file()
    reopened = open_artifact(tmp_path / "saved", spec, torch.float32, CPU, own_loader)
    ids = torch.arange(5, 15).reshape(1, -1)
    with session.unmetered():
        torch.testing.assert_close(reopened(ids).logits, model.eval()(ids).logits)


def test_a_policy_and_its_reference_hold_the_frozen_weights_once(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    session.adapter = little("ipo", adapter="lora").adapter
    policy, reference = session.model(), session.reference()
    scorer = session.scorer("reward")
    held = {bare(name): id(weight) for name, weight in policy.named_parameters()}
    for name, weight in reference.named_parameters():
        assert id(weight) == held[name], name
    shared = {id(weight) for weight in scorer.parameters()} & set(held.values())
    assert len(shared) == len(list(reference.parameters()))
    trained = [name for name, weight in scorer.named_parameters() if weight.requires_grad]
    assert any("score" in name for name in trained)
    assert all("score" in name or "lora_" in name for name in trained)


def test_what_trains_is_never_shared(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    policy, reference = session.model(), session.reference()
    assert not {id(p) for p in policy.parameters()} & {id(p) for p in reference.parameters()}


def test_a_reward_model_with_an_adapter_is_opened_as_it_was_trained(tmp_path: Path) -> None:
    session = tiny_session(tmp_path / "work", Budget("tokens", 4000))
    session.adapter = little("slic-hf", adapter="lora").adapter
    scorer = session.scorer("reward")
    with torch.no_grad():
        for name, weight in scorer.named_parameters():
            if weight.requires_grad:
                weight.normal_(generator=torch.Generator().manual_seed(len(name)))
    scorer.save_pretrained(str(tmp_path / "kept"))
    opened = load_scorer(session, tmp_path / "kept")
    batch = {"input_ids": torch.arange(5, 15).reshape(1, -1)}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    with session.unmetered():
        torch.testing.assert_close(opened(**batch).logits, scorer.eval()(**batch).logits)


def test_ids_of_runs_without_an_adapter_stay() -> None:
    assert "adapter" not in little("dpo").model_dump(mode="json")
    kept = little("dpo", adapter={"lora": {"r": 2}}).model_dump(mode="json")["adapter"]["lora"]
    assert kept["r"] == 2
    assert "lr" not in kept
    assert little("dpo", adapter={"lora": kept}).model_dump()["adapter"] == {"lora": kept}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("dpo: {adapter: lora-plus}", "lora-plus cannot be trained by another method"),
        ("dpo: {adapter: sft}", "sft cannot be trained by another method"),
        ("dpo: {adapter: prompt-tuning}", "prompt-tuning cannot be trained by another method"),
        ("dpo: {adapter: {lora: {rank: 2}}}", "lora has no parameter rank"),
        ("dpo: {adapter: {lora: {lr: 1.0e-3}}}", "lr is the method's own: write it beside adapter"),
        ("lora: {adapter: lora}", "lora has no parameter adapter"),
        ("ewc: {adapter: lora}", "ewc has no parameter adapter"),
    ],
)
def test_what_is_no_adapter_is_refused(entry: str, said: str, bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(f"{SUITE}  - {entry}\n")
    result = bench("plan", "suite.yaml")
    assert result.returncode == 2
    shown = " ".join(result.stderr.split())
    assert said in shown
    assert "line 10:" in shown


@pytest.mark.slow
def test_a_suite_with_adapters(bench_process: Bench, tmp_path: Path) -> None:
    rows = "  - chain: [lora: {lr: 3.0e-3}, ipo: {lr: 1.0e-3, adapter: dora}]\n"
    rows += "  - ppo: {lr: 1.0e-3, adapter: lora, reward: model}\n"
    rows += "  - stepwise-dpo: {adapter: lora}\n"
    (tmp_path / "suite.yaml").write_text(SUITE + rows)
    result = bench_process("run", "suite.yaml", "--results", "results", "--jobs", "1")
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "results" / "adapters" / "records"
    records = [json.loads(file.read_text()) for file in folder.iterdir()]
    by_recipe = {record["recipe"]: record for record in records}
    assert by_recipe["lora+ipo"]["status"] == "ok"
    assert by_recipe["ppo"]["status"] == "ok"
    assert by_recipe["stepwise-dpo"]["status"] == "skipped"
    assert by_recipe["ppo"]["train"]["parameters"]["trainable"] < 100_000
