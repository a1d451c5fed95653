"""The reload check finds any difference between what was trained and what was loaded, and needs
little memory for it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import PeftModelForCausalLM, PromptTuningConfig
from torch import Tensor

from bench.data.formats import Format
from bench.evaluation.agreement import agree, remember
from bench.system.errors import BrokenArtifact
from bench.testing import tiny_session
from bench.tiny.tasks import items

CPU, LENGTH = torch.device("cpu"), 48
LAYERS = 4  # of the embedded model


def long_rows(split: str) -> Dataset:
    """Eight rows of many sentences each."""
    said = [f"{item.prompt} {item.answer} ." for item in items("sort", "validation")[:80]]
    return Dataset.from_dict({"text": [" ".join(said[i : i + 10]) for i in range(0, 80, 10)]})


def trained(folder: Path, prompt: int = 0) -> Any:
    """A model, with a soft prompt of so many tokens, of which is remembered what it says."""
    session = tiny_session(folder / "work", max_length=LENGTH)
    session.task = replace(session.task, loaders={Format.LANGUAGE_MODELING: long_rows})
    model: Any = session.model()
    if prompt:
        torch.manual_seed(0)
        config = PromptTuningConfig(num_virtual_tokens=prompt, task_type="CAUSAL_LM")
        model = PeftModelForCausalLM(model, config)
    with session.unmetered():
        remember(model, session, folder)
    session.close()
    return model


def difference(model: Any, folder: Path) -> float:
    return agree(model, folder, torch.float32, CPU)["max_difference"]


def nudge(weight: Tensor) -> None:
    with torch.no_grad():
        weight.add_(0.1 * torch.randn_like(weight))


def test_logits_are_made_of_one_row_and_of_few_of_its_tokens(tmp_path: Path) -> None:
    model = trained(tmp_path)
    read, made = list[Any](), list[int]()
    model.base_model.register_forward_pre_hook(
        lambda _, args, given: read.append(given["input_ids"].shape), with_kwargs=True
    )
    model.get_output_embeddings().register_forward_hook(
        lambda head, args, logits: made.append(logits.numel() // logits.shape[-1])
    )
    assert difference(model, tmp_path) == 0
    assert read == [(1, LENGTH)] * 8
    assert len(made) == 8 and max(made) < LENGTH / 2


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("part", ["self_attn.v_proj", "mlp.down_proj"])
def test_a_difference_in_any_layer_is_found(layer: int, part: str, tmp_path: Path) -> None:
    model = trained(tmp_path)
    nudge(model.get_submodule(f"model.layers.{layer}.{part}").weight)
    with pytest.raises(BrokenArtifact, match="not the one that was trained"):
        difference(model, tmp_path)


def test_a_difference_in_a_soft_prompt_is_found(tmp_path: Path) -> None:
    model = trained(tmp_path, prompt=5)
    assert difference(model, tmp_path) == 0
    nudge(model.prompt_encoder.default.embedding.weight)
    with pytest.raises(BrokenArtifact, match="not the one that was trained"):
        difference(model, tmp_path)
