"""O-LoRA: LoRA as long as there is nothing to be orthogonal to, and orthogonal to earlier adapters
afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bench_continual import OLora
from peft import LoraConfig, PeftModelForCausalLM
from safetensors.torch import load_file
from torch import nn

from bench import Format, Session, token_losses
from bench.accounting.budget import Budget
from bench.methods.artifact import next_start
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
    """The mean absolute entry of all A_i A_tᵀ."""
    saved = load_file(adapter / "adapter_model.safetensors")
    trained_a = {
        name.replace(".default", ""): a.detach()
        for name, a in model.named_parameters()
        if ".lora_A." in name
    }
    assert (
        trained_a.keys() == {name for name in saved if ".lora_A." in name} and len(trained_a) == 28
    )
    products = [(saved[name] @ a.T).abs().mean() for name, a in trained_a.items()]
    return float(torch.stack(products).mean())


@pytest.mark.slow
def test_o_lora_becomes_orthogonal_to_earlier_adapters(tmp_path: Path) -> None:
    adapter = earlier_adapter(tmp_path / "earlier")
    steps = Budget("steps", 60)
    free = o_lora(tiny_session(tmp_path / "a", steps, earlier=(adapter,)), 0.0)
    held = o_lora(tiny_session(tmp_path / "b", steps, earlier=(adapter,)), 0.5)
    assert overlap(adapter, held) < 0.3 * overlap(adapter, free)


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


@pytest.mark.slow
def test_at_the_papers_weight_the_first_of_two_targets_is_kept(tmp_path: Path) -> None:
    def after_both(lambda_1: float, folder: Path) -> list[float]:
        """NLL of the first and of the second target after training on both, and of the second
        before.
        """
        sizes: dict[str, Any] = {"batch_size": 64, "budget": Budget("tokens", 100_000)}
        first = tiny_session(folder / "first", task="tiny/swap", **sizes)
        model = o_lora(first, lambda_1)
        model.save_pretrained(str(folder / "adapter"))
        first.made_by = ("o-lora", OLora())
        start, earlier = next_start(first, model, "merged"), (folder / "adapter",)
        second = tiny_session(folder / "second", start=start, earlier=earlier, **sizes)
        after = o_lora(second, lambda_1).eval()
        with second.unmetered(), torch.no_grad():
            pairs = ((first, after), (second, after), (second, second.model().eval()))
            return [
                OLora().objective(session.validation(second.start), model)["nll"]
                for session, model in pairs
            ]

    lost, _, _ = after_both(0.0, tmp_path / "free")
    kept, learned, before = after_both(0.5, tmp_path / "held")
    assert kept < 0.1 * lost
    assert learned < 0.5 * before, "and the second is learned"
