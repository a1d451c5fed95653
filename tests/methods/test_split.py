"""The gradient of a batch does not depend on the parts that it is split into, for every method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import set_seed

from bench.accounting.budget import Budget
from bench.accounting.ledger import Ledger
from bench.methods.method import Method
from bench.methods.registry import plugins, usable
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

from ..little import first_rows

NAMES = [name for name, plugin in plugins().items() if plugin.method and plugin.method.formats]
KNOWN = "tiny/largest"  # the base answers it: samples earn something
BATCH = 16
SETTINGS: dict[str, dict[str, Any]] = {
    "adamss": {"r": 16, "num_subspaces": 2},
    "adamss-asa": {"r": 16, "num_subspaces": 2, "asa_target_subspaces": 100},
    "cispo": {"temperature": 1.5},
    "corda": {"init_rows": 16},
    "corda-kpm": {"init_rows": 16},
    "dapo": {"temperature": 1.5},
    "dr-grpo": {"temperature": 1.5},
    "eva": {"init_rows": 16},
    "ewc": {"fisher_examples": 4},
    "grpo": {"num_iterations": 2, "temperature": 1.5},
    "gspo": {"temperature": 1.5},
    "lora-ga": {"init_rows": 16},
    "monteclora": {"num_samples": 2},
    "ppo": {"reward": "model", "reward_share": 0.4},
    "raft": {"num_samples": 2},
    "rejection-sampling": {"num_samples": 2, "max_prompts": 16},
    "rloo": {"temperature": 1.5},
    "rso": {"num_candidates": 4, "max_new_tokens": 4, "max_prompts": 32},
    "slic-hf": {"num_candidates": 2, "max_new_tokens": 4, "max_prompts": 32},
    "vblora": {"vector_length": 64},
}
"""Where the defaults do not fit the tiny model, take seconds on it, or leave nothing to compare."""
NEVER_SPLIT = ("lily",)
STILL = 1e-20
"""A learning rate that moves no weight: every step has the gradient of the start."""
TINY = ModelSpec(path="tiny")
WITH_BIASES = ModelSpec.model_validate(
    {
        "random": "qwen2",
        "tokenizer": "tiny",
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_split_has_the_gradient_of_the_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_noise(name, monkeypatch)
    whole, ledger = gradients(name, tmp_path / "whole", monkeypatch)
    assert max(float(gradient.norm()) for gradient in whole) > 1e-6
    more = passes = ledger.learning_passes
    for parts in (2, 8):
        micro = BATCH // parts
        split, ledger = gradients(name, tmp_path / str(parts), monkeypatch, micro=micro)
        more = ledger.learning_passes
        assert len(split) == len(whole)
        for one, other in zip(whole, split, strict=True):
            assert float((one - other).norm()) <= 1e-4 * float(one.norm()), parts
    assert more > passes or name in NEVER_SPLIT


def without_noise(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a method computes the same whenever it computes the same rows."""
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda dropout, inputs: inputs)
    if name == "pvera":  # its noise is drawn for each token, as dropout is
        monkeypatch.setattr(torch, "randn_like", torch.zeros_like)


def gradients(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **given: Any
) -> tuple[list[Tensor], Ledger]:
    """The gradient of each step as one vector, before it is clipped, and what was spent. The
    session has what is `given`.
    """
    method = still(usable(name), SETTINGS.get(name, {}))
    start = WITH_BIASES if name == "bitfit" else TINY
    session = tiny_session(
        folder, Budget("steps", 3), KNOWN, batch_size=BATCH, start=start, **given
    )
    session.task = first_rows(session.task)
    if reason := method.skip(session):
        pytest.skip(reason)
    seen: list[Tensor] = []

    def look(parameters: Any, *_: Any, **__: Any) -> Tensor:
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        seen.append(torch.cat([grad.flatten() for grad in grads]).double())
        return seen[-1].norm()

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", look)
    set_seed(session.seed)
    method.train(session)
    session.close()
    return seen, session.ledger


def still(kind: type[Method], settings: dict[str, Any]) -> Method:
    """The method with learning rates that move no weight, and short samples."""
    fields = kind.model_fields
    rates = {field: STILL for field in fields if field == "lr" or field.endswith("_lr")}
    short = {"max_completion_length": 6} if "max_completion_length" in fields else {}
    return kind.model_validate({**rates, **short, **settings})
