"""A soup of adapters with learned shares: PEFT's own concatenation as golden value, what always
holds, and the learning itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from bench_merge import LoraSoup, soup
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import Tensor, nn

from bench import Format
from bench.accounting.budget import Budget
from bench.methods.composition import Merge
from bench.methods.recipe import apply
from bench.models.load import load_model
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

LAYER = "model.layers.{}.mlp.down_proj.weight"
logits = st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3).map(torch.tensor)


def _tiny() -> Any:
    return load_model(ModelSpec(path="tiny"), torch.float32, torch.device("cpu"))


def _adapters() -> Any:
    """The embedded model with two adapters of random weights and different ranks."""
    torch.manual_seed(0)
    shapes = {"one": (4, 8), "other": (8, 4)}
    configs = {
        name: LoraConfig(r=r, lora_alpha=alpha, target_modules=["q_proj", "down_proj"])
        for name, (r, alpha) in shapes.items()
    }
    model = get_peft_model(_tiny(), configs["one"], adapter_name="one")
    model.add_adapter("other", configs["other"])
    for name, weight in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(weight, std=0.1)
    return model


def _merged(adapter: str, **mixed: Any) -> dict[str, Tensor]:
    model = _adapters()
    if mixed:
        model.add_weighted_adapter(["one", "other"], adapter_name=adapter, **mixed)
    model.set_adapter(adapter)
    return dict(model.merge_and_unload(adapter_names=[adapter]).named_parameters())


def test_given_shares_merge_as_pefts_concatenation_of_adapters() -> None:
    start = dict(_tiny().named_parameters())
    parts = [_merged("one"), _merged("other")]
    shares = [0.8, 0.2]
    wanted = _merged("both", weights=shares, combination_type="cat")
    learned = {name: torch.tensor(shares).log() for name in start}
    made = LoraSoup().merge(start, parts, learned)
    assert made.keys() == wanted.keys()
    for name, weight in wanted.items():
        torch.testing.assert_close(made[name], weight, atol=1e-6, rtol=1e-5)
    moved = sum(not torch.equal(start[name], weight) for name, weight in wanted.items())
    assert moved == 8, "two linear layers in each of four"


@given(logits)
def test_shares_sum_to_one(w: Tensor) -> None:
    change = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    alike = torch.stack([change] * 3)
    torch.testing.assert_close(soup.mixture(alike, w), change, atol=1e-5, rtol=1e-5)
    apart = torch.stack([change, 2 * change, -change])
    by_hand = sum(s * c for s, c in zip(w.softmax(0), apart, strict=True))
    torch.testing.assert_close(soup.mixture(apart, w), by_hand)


def _cooked(folder: Path, rates: tuple[float, float], by: dict[str, Any]) -> tuple[Any, Any]:
    parts = [{"lora": {"lr": rate}} for rate in rates]
    recipe = Merge.model_validate({"parts": parts, "by": {"lora-soup": by}})
    session = tiny_session(folder, Budget("tokens", 20_000))
    return apply("merge", recipe, session), session


def test_what_learned_most_has_the_greater_share(tmp_path: Path) -> None:
    """One part has learned and the other has not: the shares begin equal and move to the first."""
    model, session = _cooked(tmp_path, (1e-2, 1e-5), {"lr": 0.3})
    files = [load_file(tmp_path / f"stage-{i}/merged/model.safetensors") for i in (0, 1)]
    start = dict(session.reference().named_parameters())
    found = []
    for layer in range(4):
        name = LAYER.format(layer)
        one, other = (file[name] - start[name] for file in files)
        change = model.state_dict()[name] - start[name] - other
        found.append(float((change * (one - other)).sum() / (one - other).square().sum()))
    assert all(0 < share < 1 for share in found)
    assert sum(found) / len(found) > 0.55
    spent = {name: spend["tokens"] for name, spend in session.ledger.by_purpose().items()}
    assert set(spent) == {"train"}
    assert 0.9 < spent["train"] / 20_000 < 1.1, "the parts and the soup share one budget"


def test_nothing_but_the_shares_is_trained(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 4))
    start = {name: p.detach().clone() for name, p in session.reference().named_parameters()}
    part = {name: weight + 0.01 for name, weight in start.items()}
    found = soup.learned(session, Format.PROMPT_COMPLETION, start, [part, start], lr=0.1)
    assert found.keys() == start.keys(), "a tied tensor once"
    assert all(w.shape == (2,) for w in found.values())
    assert any(bool(w.any()) for w in found.values())
    steps = {name: p.detach() for name, p in session.reference().named_parameters()}
    assert all(torch.equal(start[name], weight) for name, weight in steps.items())
