"""What must not differ between rows: that seeds count, and that shares come to the budget."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.accounting.budget import Budget
from bench.methods import registry
from bench.methods.entry import resolve
from bench.methods.recipe import Recipe, apply
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

from ..little import little


def test_a_seed_decides_on_a_model_of_random_weights_too(tmp_path: Path) -> None:
    spec = ModelSpec.model_validate(
        {"random": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        | {"intermediate_size": 16, "tokenizer": "tiny"}
    )
    found = []
    for seed in (1, 2, 2):
        session = tiny_session(
            tmp_path / str(len(found)), Budget("steps", 1), start=spec, seed=seed
        )
        model = apply("lora", little("lora", r=2), session)
        found.append({n: p.detach() for n, p in model.named_parameters() if "lora_A" in n})
        session.close()
    assert not any(torch.equal(found[0][name], weight) for name, weight in found[1].items())
    assert all(torch.equal(found[2][name], weight) for name, weight in found[1].items())


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([{"sft": {}, "share": 1.0}, "dpo"], "leave nothing to the parts without one"),
        (["depth-upscale", {"sft": {}, "share": 0.5}], "come to 0.5, not to 1"),
        ([{"sft": {}, "share": 0.5}, {"dpo": {}, "share": 0.25}], "come to 0.75, not to 1"),
    ],
)
def test_shares_that_lose_some_of_the_budget_are_refused(parts: list[object], told: str) -> None:
    with pytest.raises(Exception, match=told):
        resolve("chain", {"parts": parts})


def test_shares_that_fit() -> None:
    chain = registry.usable("chain")
    for parts in (["depth-upscale", {"sft": {}, "share": 1.0}], [{"sft": {}, "share": 0.4}, "dpo"]):
        made = chain.model_validate({"parts": parts})
        assert isinstance(made, Recipe) and sum(made.shares()) == pytest.approx(1)
