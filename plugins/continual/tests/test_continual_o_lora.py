"""O-LoRA: LoRA as long as there is nothing to be orthogonal to, and orthogonal to earlier adapters
afterwards.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bench_continual import OLora
from peft import LoraConfig, PeftModelForCausalLM
from safetensors.torch import load_file
from torch import nn

from bench import Format, Session, token_losses
from bench.accounting.budget import Budget
from bench.testing import tiny_session

from .fine_tuning import same, trained


def o_lora(session: Session, lambda_1: float) -> PeftModelForCausalLM:
    model = trained(OLora(lr=3e-3, lambda_1=lambda_1), session)
    assert isinstance(model, PeftModelForCausalLM)
    return model


def earlier_adapter(folder: Path) -> Path:
    o_lora(tiny_session(folder, task="tiny/swap"), 0.5).save_pretrained(str(folder / "adapter"))
    return folder / "adapter"


def overlap(adapter: Path, model: nn.Module) -> float:
    """The largest entry of any A_i A_tᵀ."""
    saved = load_file(adapter / "adapter_model.safetensors")
    trained_a = {
        name.replace(".default", ""): a.detach()
        for name, a in model.named_parameters()
        if ".lora_A." in name
    }
    assert (
        trained_a.keys() == {name for name in saved if ".lora_A." in name} and len(trained_a) == 28
    )
    return max(float((saved[name] @ a.T).abs().max()) for name, a in trained_a.items())


@pytest.mark.slow
def test_o_lora_becomes_orthogonal_to_earlier_adapters(tmp_path: Path) -> None:
    adapter = earlier_adapter(tmp_path / "earlier")
    steps = Budget("steps", 60)
    free = o_lora(tiny_session(tmp_path / "a", steps, earlier=(adapter,)), 0.0)
    held = o_lora(tiny_session(tmp_path / "b", steps, earlier=(adapter,)), 1e4)
    assert overlap(adapter, free) > 0.05
    assert overlap(adapter, held) < 0.02


def test_o_lora_without_an_earlier_target_or_weight_is_lora(tmp_path: Path) -> None:
    adapter = earlier_adapter(tmp_path / "earlier")
    session = tiny_session(tmp_path / "a")
    torch.manual_seed(session.seed)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    lora = PeftModelForCausalLM(session.model(), config)
    optimizer = session.optimizer(lora, 3e-3)
    for batch in session.batches(Format.PROMPT_COMPLETION):
        session.learn(optimizer, batch, lambda part: token_losses(lora, part))
    session.close()
    assert same(o_lora(tiny_session(tmp_path / "b"), 0.5), lora)
    assert same(o_lora(tiny_session(tmp_path / "c", earlier=(adapter,)), 0.0), lora)
    assert not same(o_lora(tiny_session(tmp_path / "d", earlier=(adapter,)), 0.5), lora)
