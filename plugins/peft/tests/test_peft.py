"""Parameter-efficient methods: what each adds of its own. That each trains its own part alone and
comes back as it was is what every method must show: see the conformance kit.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bench_peft import PeftMethod
from bench_peft.fitted import common_ending, common_tokens
from bench_peft.methods import METHODS
from bench_peft.table import ROWS
from datasets import Dataset
from pydantic import ValidationError
from torch import Tensor

from bench import Format, Session, Skipped
from bench.accounting.budget import Budget
from bench.models.start import load_start
from bench.testing import tiny_session

from .adapters import STEPS, logits, made, trained

NO_CHANGE_AT_START = (
    "dora rslora pissa olora lora-orthogonal mica lora-bias velora lora-modules-to-save"
    " lora-target-parameters lora-plus lora-fa lora-riemannian lora-intruders eva pissa-niter corda"
    " corda-kpm lora-ga loha lokr"
    " hira gralora delora deft oft boft hra miss shira ia3 vera ln-tuning alora"
).split()


def start_of(session: Session) -> Any:
    return load_start(session.start, session.dtype, session.device).eval()


def test_pyproject_lists_every_method() -> None:
    file = Path(__file__).parent.parent / "pyproject.toml"
    listed = tomllib.loads(file.read_text())["project"]["entry-points"]["bench.methods"]
    assert listed == {
        name: f"{method.__module__}:{method.__name__}" for name, method in METHODS.items()
    }
    assert {row.name for row in ROWS} < set(listed)


@pytest.mark.parametrize("name", NO_CHANGE_AT_START)
def test_an_untrained_adapter_says_what_the_model_says(name: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, STEPS)
    said = logits(session, start_of(session))
    torch.manual_seed(0)
    model = made(name).adapted(session).eval()
    assert (logits(session, model) - said).abs().max() < 2e-4  # logits reach 20 in float32


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_checked(name: str) -> None:
    assert issubclass(METHODS[name], PeftMethod)
    assert METHODS[name].family == ("continual" if name == "osf" else "parameter-efficient")
    with pytest.raises(ValidationError):
        METHODS[name].model_validate({"lr": 0.0})
    with pytest.raises(ValidationError):
        METHODS[name].model_validate({"no_such_setting": 1})


@pytest.mark.parametrize("name", ["pissa-niter", "corda", "corda-kpm", "lora-ga", "qlora", "loftq"])
def test_changed_weights_become_the_start(name: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, STEPS)
    true_start = start_of(session).state_dict()
    made(name).adapted(session)
    differs = [
        key
        for key, weight in start_of(session).state_dict().items()
        if not torch.equal(weight, true_start[key])
    ]
    assert len(differs) == 28  # seven linear layers in each of four


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("eva", {}),
        ("corda", {}),
        ("corda-kpm", {}),
        ("lora-ga", {"init_rows": 8}),
        ("cartridge", {"num_virtual_tokens": 80}),
    ],
)
def test_what_a_start_is_computed_from_is_charged(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    plain, _ = trained("lora", tmp_path / "plain")
    session, _ = trained(name, tmp_path / "own", **settings)
    spent, without = (s.ledger.by_purpose() for s in (session, plain))
    assert spent["set-up"]["tokens"] >= 80
    assert spent["train"]["tokens"] == without["train"]["tokens"]


def test_shadow_trains_no_update_that_nothing_reads(tmp_path: Path) -> None:
    model = made("shadow").adapted(tiny_session(tmp_path, STEPS))
    idle = {
        n.split(".shadow_update")[0]
        for n, p in model.named_parameters()
        if "shadow_update" in n and not p.requires_grad
    }
    assert idle == {"base_model.model.model.layers.3"}


@pytest.mark.parametrize(("name", "weight"), [("kasa", "gamma"), ("monteclora", "kl_loss_weight")])
def test_penalties_reach_the_loss(name: str, weight: str, tmp_path: Path) -> None:
    none, _ = trained(name, tmp_path / "none", STEPS, **{weight: 0.0})
    some, _ = trained(name, tmp_path / "some", STEPS, **{weight: 1.0})
    assert some.log.losses[0] > none.log.losses[0] + 1e-3


def test_shadow_adds_its_own_loss(tmp_path: Path) -> None:
    plain, _ = trained("lora", tmp_path / "plain")
    shadow, _ = trained("shadow", tmp_path / "shadow")
    assert shadow.log.losses[0] > plain.log.losses[0] + 0.1


def test_lora_plus_keeps_its_ratio_through_the_schedule(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, STEPS)
    method = made("lora-plus", lr=1e-3, loraplus_lr_ratio=8)
    model = method.adapted(session)
    optimizer, seen = method.optimizer(session, model), []
    optimizer.register_step_pre_hook(
        lambda o, *_: seen.append([g["lr"] for g in o.param_groups if g["params"]])
    )
    method.fit(session, model, optimizer)
    assert len({low for low, _ in seen}) > 1
    assert [high / low for low, high in seen] == pytest.approx([8.0] * 3)


def test_lora_fa_corrects_the_gradient_of_the_second_factor(tmp_path: Path) -> None:
    """The step follows (1/s²) · g · (A Aᵀ)⁻¹ through Adam; its first step is lr times the sign of
    that (2308.03303).
    """
    session = tiny_session(tmp_path, Budget("steps", 1))
    method = made("lora-fa", lr=1e-3)
    model = method.adapted(session)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    first, second = layer.lora_A["default"].weight.detach().clone(), layer.lora_B["default"].weight
    caught: list[Tensor] = []
    optimizer = method.optimizer(session, model)
    optimizer.register_step_pre_hook(lambda *_: caught.append(second.grad.clone()))
    method.fit(session, model, optimizer)
    right = (
        caught[0]
        @ torch.linalg.inv(first @ first.T + 1e-8 * torch.eye(8))
        / layer.scaling["default"] ** 2
    )
    clear = right.abs() > 1e-4 * right.abs().max()
    assert torch.equal(layer.lora_A["default"].weight, first)
    assert torch.equal(second.detach().sign()[clear], -right.sign()[clear])


def test_alora_acts_only_where_it_is_invoked(tmp_path: Path) -> None:
    session, model = trained("alora", tmp_path, lr=1e-2)
    assert session.tokenizer.convert_ids_to_tokens(common_ending(session))[-1].strip("Ġ▁ ") == "?"
    base = start_of(session)
    for text, acts in (("smallest of 84 92", False), ("smallest of 84 92 78 ?", True)):
        ids = session.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad(), session.unmetered():
            same = torch.allclose(
                model(input_ids=ids).logits, base(input_ids=ids).logits, atol=1e-5
            )
        assert same is not acts


def test_trainable_tokens_are_those_of_every_prompt(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, STEPS)
    words = session.tokenizer.decode(common_tokens(session, start_of(session)))
    assert all(word in words for word in ("smallest", "of", "?"))


def test_cpt_tells_prompts_from_completions(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, STEPS)
    config = made("cpt", shots=2).config(session, start_of(session))
    rows = session.dataset(Format.PROMPT_COMPLETION)[:2]
    kinds = zip(config.cpt_token_ids, config.cpt_tokens_type_mask, strict=True)
    assert [token for token, kind in kinds if kind == 6] == session.tokenizer(rows["prompt"][1])[
        "input_ids"
    ]
    assert set(config.cpt_tokens_type_mask) == {2, 4, 6, 8}


def test_what_does_not_fit_the_model_is_skipped_with_the_reason(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, STEPS)
    with pytest.raises(Skipped, match="must be divisible by `vector_length` 256"):
        METHODS["vblora"].model_validate({"vector_length": 256}).train(session)


def test_methods_that_need_something_of_the_data_say_so(tmp_path: Path) -> None:
    assert "no retained task" in (
        made("corda-kpm").skip(tiny_session(tmp_path / "a", old=())) or ""
    )
    unlike: Any = SimpleNamespace(
        prompt_ids=tiny_session(tmp_path / "b").prompt_ids,
        dataset=lambda format: Dataset.from_dict({"prompt": ["add 1 and 2 ?", "add 1 and 2 :"]}),
    )
    assert "do not end alike" in made("alora").skip(unlike)
