"""Arithmetic in bfloat16 for methods of every family: what trains is float32, and what was saved
says the same in a fresh process.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from bench import token_losses
from bench.accounting.budget import Budget
from bench.evaluation.lm_eval import open_model
from bench.methods import registry
from bench.methods.artifact import own_loader, save_result
from bench.methods.recipe import apply
from bench.models.artifact import open_artifact
from bench.models.load import load_model
from bench.models.spec import ModelSpec
from bench.system.errors import Skipped
from bench.testing import tiny_session
from tests.runs import records, write_suite

from ..conftest import Bench
from ..little import first_rows, little, task_for

FAMILIES = ("sft", "lora", "prefix-tuning", "pissa", "dpo", "ewc", "grpo")
STEPPING = [
    name
    for name, plugin in registry.plugins().items()
    if plugin.method and plugin.method.formats  # neither recipes nor what steps no optimizer
]
EXPERTS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
}
IN_FLOAT32: dict[str, dict[str, Any]] = {
    "glm4_moe": EXPERTS,
    "deepseek_v3": EXPERTS
    | {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8}
    | {"qk_nope_head_dim": 8, "v_head_dim": 8},
    "lfm2_moe": EXPERTS
    | {"num_experts": 4, "num_dense_layers": 1, "layer_types": ["conv", "full_attention"]},
}
"""Models of which a part is float32 whatever is asked for."""
EXTRA = "dtype: bfloat16\nattention: eager\n"


@pytest.mark.slow
def test_every_family_trains_saves_and_reopens_in_bfloat16(
    bench_process: Bench, tmp_path: Path
) -> None:
    lines = "\n".join(f"  - {name}" for name in FAMILIES)
    lines += "\n  - merge: [sft, lora]\n    as: merged"
    write_suite(tmp_path, lines, "tokens: 2k", "1", EXTRA)
    suite = tmp_path / "suite.yaml"
    suite.write_text(suite.read_text().replace("max_length: 64", "max_length: 64, micro: auto"))
    result = bench_process("run", "suite.yaml")
    found = records(tmp_path)
    told = {name: (record["status"], record["reason"]) for name, record in found.items()}
    assert all(status == "ok" for status, _ in told.values()), told
    assert result.returncode == 0, result.stdout + result.stderr
    for name, record in found.items():
        assert record["evaluation"]["environment"]["attention"] == "eager"
        if name.startswith("base"):
            continue
        agreement = record["evaluation"]["agreement"]
        assert agreement == {"max_difference": 0, "tolerance": 5e-2}, "bit for bit"
        assert record["train"]["environment"]["dtype"] == "bfloat16"
        held = record["train"]["memory"]
        assert held["weights_bytes"] > 1e6
        assert held["optimizer_bytes"] >= 2 * held["gradients_bytes"] > 0
        assert "activations_bytes" not in held  # of a resident set nobody knows
    assert found["sft-s0"]["batch"]["micro"] == 16
    parameters = found["sft-s0"]["train"]["parameters"]["trainable"]
    held = found["sft-s0"]["train"]["memory"]
    assert held["gradients_bytes"] == 4 * parameters
    assert held["optimizer_bytes"] == pytest.approx(8 * parameters, rel=1e-3)


def stepped(name: str, folder: Path) -> tuple[Any, set[torch.dtype]]:
    """A model after two steps of a method in bfloat16, and the types of what was stepped."""
    method = little(name)
    session = tiny_session(folder, Budget("steps", 2), task_for(method), dtype=torch.bfloat16)
    session.task = first_rows(session.task)
    seen: set[torch.dtype] = set()

    def look(optimizer: Optimizer, *_: object) -> None:
        held = [p for group in optimizer.param_groups for p in group["params"]]
        seen.update(p.dtype for p in held if p.grad is not None)

    handle = register_optimizer_step_post_hook(look)
    try:
        model = apply(name, method, session)
    finally:
        handle.remove()
        session.close()
    return model, seen


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPPING)
def test_every_method_steps_float32_masters(name: str, tmp_path: Path) -> None:
    try:
        _, seen = stepped(name, tmp_path)
    except Skipped as reason:
        pytest.skip(str(reason))
    # what online-dpo samples from an untrained model is all alike, and teaches nothing
    assert seen == {torch.float32} or (name == "online-dpo" and not seen)


@pytest.mark.parametrize("name", ["sft", "lora", "prompt-tuning", "shadow"])
def test_what_trains_is_float32(name: str, tmp_path: Path) -> None:
    model, seen = stepped(name, tmp_path)
    assert seen == {torch.float32}
    frozen = {p.dtype for p in model.parameters() if not p.requires_grad}
    # shadow freezes a layer of its own, which PEFT made in float32
    assert frozen <= {torch.bfloat16, *([torch.float32] if name == "shadow" else [])}


def test_a_copy_computes_with_its_own_weights(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, dtype=torch.bfloat16)
    copied = deepcopy(model := session.model())
    batch = session.encode(["a b"], [" a"])
    token_losses(copied, batch).sum().backward()
    assert {p.dtype for p in copied.parameters()} == {torch.float32}
    assert all(p.grad is not None for p in copied.parameters())
    with torch.no_grad():
        as_before = token_losses(model, batch)
        for weight in copied.parameters():
            weight.zero_()
        assert torch.equal(token_losses(model, batch), as_before)
        assert not torch.equal(token_losses(copied, batch), as_before)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    session.close()


@pytest.mark.parametrize("kind", IN_FLOAT32)
def test_what_is_float32_in_any_model_stays_so(kind: str, tmp_path: Path) -> None:
    shape = {"random": kind, "vocab_size": 512} | IN_FLOAT32[kind]
    cpu = torch.device("cpu")
    made = load_model(ModelSpec.model_validate(shape), torch.bfloat16, cpu)
    made.save_pretrained(tmp_path / "start")
    spec = ModelSpec(path=str(tmp_path / "start"), tokenizer="tiny")
    start = load_model(spec, torch.bfloat16, cpu).state_dict()
    assert torch.float32 in {weight.dtype for weight in start.values()}
    session = tiny_session(tmp_path / "work", Budget("steps", 1), start=spec, dtype=torch.bfloat16)
    model = apply("sft", little("sft"), session)
    session.close()
    save_result(session, model, tmp_path / "artifact", spec)
    opened = open_artifact(tmp_path / "artifact", spec, torch.bfloat16, cpu, own_loader)
    for name, weight in opened.state_dict().items():
        assert weight.dtype == start[name].dtype
        assert torch.equal(weight, model.state_dict()[name])


def test_answers_are_scored_in_float32(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, dtype=torch.bfloat16)
    model = session.model().eval()
    ids = list(range(10, 30))
    with torch.no_grad(), session.unmetered():
        logits = model(input_ids=torch.tensor([ids[:-1]])).logits[0].float()
        said = open_model(model, session.tokenizer, 4, session.device)._loglikelihood_tokens(
            [(("", ""), ids[:5], ids[5:])], disable_tqdm=True
        )
    session.close()
    exact = logits.log_softmax(-1)[range(4, 19), ids[5:]].sum()
    assert logits.dtype == torch.float32 and exact < -50
    assert said[0][0] == pytest.approx(float(exact), abs=1e-3)
