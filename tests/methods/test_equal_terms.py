"""What must not differ between rows: how far they pass the budget, their seeds, their shares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench import Format, Method, token_losses
from bench.accounting.budget import Budget
from bench.accounting.ledger import BudgetSpent
from bench.methods import registry
from bench.methods.entry import resolve
from bench.methods.recipe import Recipe, apply
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

from ..little import little


class Again(Method):
    """Passes each batch several times before its one step."""

    formats = (Format.PROMPT_COMPLETION,)
    reference = "none"
    times: int = 1

    def train(self, session):  # noqa: ANN001, ANN201
        model = session.model()
        optimizer = session.optimizer(model, 1e-3)
        for batch in session.batches(self.formats[0]):
            for _ in range(self.times - 1):
                token_losses(model, batch)
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model


@pytest.mark.parametrize("tokens", [50, 1000])
def test_a_batch_that_passes_the_budget_by_far_fails_the_run(tmp_path: Path, tokens: int) -> None:
    times = 1 if tokens < 100 else 7
    session = tiny_session(tmp_path, Budget("tokens", tokens), batch_size=64)
    with pytest.raises(BudgetSpent, match="beyond its budget"):
        Again(times=times).train(session)


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
