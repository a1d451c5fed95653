"""Models of other architectures than ours are trained, charged and saved like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench import token_losses
from bench.accounting.budget import Budget
from bench.accounting.guard import no_free_training
from bench.methods.recipe import apply
from bench.models.padding_free import MARK
from bench.models.spec import ModelSpec
from bench.system.errors import Skipped
from bench.testing import tiny_session

from ..accounting.test_flops_of_kinds import KINDS
from ..little import little

OTHERS: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "mamba": {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2},
    "mixtral": KINDS["mistral"] | {"num_local_experts": 2},
}
ALL = KINDS | OTHERS
WITHOUT_POSITIONS = ("bloom", "falcon", "mamba", "opt")


def start_of(kind: str) -> ModelSpec:
    shape = {"random": kind, "tokenizer": "tiny", "vocab_size": 512}
    return ModelSpec.model_validate(shape | ALL[kind])


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", ["sft", "grpo", "dpo"])
def test_a_model_of_another_architecture_learns_and_is_charged(
    kind: str, name: str, tmp_path: Path
) -> None:
    session = tiny_session(tmp_path, Budget("steps", 2), start=start_of(kind))
    with no_free_training(session.ledger):
        model = apply(name, little(name), session)
        session.close()
    purposes = session.ledger.purposes
    assert session.ledger.steps == 2
    assert float(purposes["train"].tokens) > 0 and float(purposes["train"].flops) > 0
    assert ("rollout" in purposes) == (name == "grpo")
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


@pytest.mark.parametrize("kind", ALL)
def test_packed_texts_do_not_see_each_other(kind: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, start=start_of(kind))
    model = session.model().eval()
    texts = ["a b c", "b c d e f g h i", "b c", "x a"]
    packed = session.pack(texts)
    assert ("position_ids" in packed) == (kind not in WITHOUT_POSITIONS)
    assert not session.ledger.by_purpose(), "nobody is charged for a look at the model"
    with torch.no_grad():
        together = token_losses(model, packed).sum()
        alone = sum(token_losses(model, session.pack([text])).sum() for text in texts)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ALL)
def test_texts_side_by_side_do_not_see_each_other(kind: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, start=start_of(kind), padding_free=True)
    if kind in WITHOUT_POSITIONS:
        with pytest.raises(Skipped, match="cannot tell texts in one row apart"):
            session.model()
        return
    model = session.model().eval()
    said = [" yes", " no no no", " a b c", " y"]
    batch = session.encode(["a", "b c d e f g h i", "b c", "x"], said)
    with torch.no_grad():
        free = token_losses(model, batch)
        setattr(model, MARK, False)
        padded = token_losses(model, batch)
    torch.testing.assert_close(free, padded, rtol=1e-4, atol=1e-4)
