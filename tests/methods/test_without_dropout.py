"""Methods that learn without dropout compute activations anew where the suite says so, and nothing
else changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from transformers import set_seed

from bench import Method
from bench.accounting.budget import Budget
from bench.methods import registry
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

TINY = ModelSpec(path="tiny")
DROPS = ModelSpec.model_validate(
    {"random": "opt", "tokenizer": "tiny", "vocab_size": 300, "hidden_size": 64, "ffn_dim": 64}
    | {"word_embed_proj_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "dropout": 0.1}
    | {"layerdrop": 0.1}
)
"""A model whose layers themselves have dropout."""
LEARNS: dict[str, Any] = {"lr": 1e-3, "max_completion_length": 6}
TAUGHT, SAMPLED = {"teacher": "tiny"}, {"temperature": 1.5}


def _trained(method: Method, folder: Path, **changes: Any) -> tuple[nn.Module, int]:
    """The model, and how often attention was computed so that a gradient could follow."""
    passes = 0

    def count(module: nn.Module, *_: Any) -> None:
        nonlocal passes
        passes += type(module).__name__.endswith("Attention") and torch.is_grad_enabled()

    session = tiny_session(folder, Budget("steps", 2), "tiny/largest", **changes)
    set_seed(session.seed)
    hook = register_module_forward_hook(count)
    model = method.train(session)
    hook.remove()
    session.close()
    return model, passes


@pytest.mark.parametrize(
    ("name", "own", "start"),
    [
        *((name, TAUGHT, TINY) for name in ("kd", "gkd", "seq-kd", "sdft", "sdpo")),
        *((name, SAMPLED, TINY) for name in ("ppo", "grpo", "dapo")),
        ("gkd", TAUGHT, DROPS),
        ("ppo", SAMPLED, DROPS),
    ],
)
def test_layers_are_computed_twice_and_learn_the_same(
    name: str, own: dict[str, Any], start: ModelSpec, tmp_path: Path
) -> None:
    kind = registry.usable(name)
    given = {key: value for key, value in (LEARNS | own).items() if key in kind.model_fields}
    method = kind.model_validate(given)
    plain, once = _trained(method, tmp_path / "plain", start=start)
    frugal, twice = _trained(method, tmp_path / "frugal", start=start, checkpointing=True)
    assert twice == 2 * once > 0
    for one, other in zip(plain.parameters(), frugal.parameters(), strict=True):
        assert torch.equal(one, other)
