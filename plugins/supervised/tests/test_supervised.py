"""Supervised methods and continued pre-training: what each trains, on which tokens, and what it
leaves alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_supervised import SFT
from bench_supervised.low_rank import Apollo, GaLore, LowRankOptimizer
from bench_supervised.partial import BitFit, Lisa
from bench_supervised.pretraining import Dapt, Tapt
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from bench.accounting.budget import Budget
from bench.data.formats import Format
from bench.methods.method import Method
from bench.methods.session import Session
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

SMALL = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
WITH_BIASES = {
    "gpt2": ModelSpec.model_validate(
        {
            "random": "gpt2",
            "tokenizer": "tiny",
            "vocab_size": 300,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 2,
        }
    ),
    "qwen2": ModelSpec.model_validate(
        {"random": "qwen2", "tokenizer": "tiny", "num_key_value_heads": 2, **SMALL}
    ),
}
STEPS = 6


class Watched(Session):
    """Lets a test look at the model after every step."""

    look: Callable[[PreTrainedModel], None]

    def model(self, purpose: str = "train") -> PreTrainedModel:
        self.handed_out = super().model(purpose)
        return self.handed_out

    def learn(self, optimizer: Any, batch: Any, loss_of: Callable[[Any], Tensor]) -> None:
        super().learn(optimizer, batch, loss_of)
        self.optimizer_seen = optimizer
        self.look(self.handed_out)


def _watched(folder: Path, look: Callable[[PreTrainedModel], None], steps: int = STEPS) -> Watched:
    session = tiny_session(folder, Budget("steps", steps))
    session.close()
    given = {
        name: value
        for name, value in vars(session).items()
        if name not in ("_account", "_speed", "_phases", "_ordered", "judges")
    }
    watched = Watched(**given)
    watched.look = look
    return watched


def _weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def _moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


# ── continued pre-training ──


def test_dapt_learns_from_every_token_of_every_text_as_if_it_stood_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[Tensor] = []

    def look(parameters: Iterable[torch.nn.Parameter], norm: float) -> None:
        packed.extend(p.grad.clone() for p in parameters if p.grad is not None)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", look)
    session = tiny_session(tmp_path, Budget("steps", 1))
    Dapt(lr=1e-3).train(session)
    session.close()

    alone = tiny_session(tmp_path / "alone", Budget("steps", 1))
    start = alone.model()
    loss = start(**next(alone.batches(Format.LANGUAGE_MODELING))).loss
    loss.backward()
    alone.close()
    assert session.log.losses == pytest.approx([float(loss.detach())], rel=1e-5)
    gradients = [p.grad for p in start.parameters() if p.grad is not None]
    for one, other in zip(packed, gradients, strict=True):
        assert float((one - other).norm()) <= 1e-4 * float(other.norm())
    assert session.ledger.spent("samples") == 8, "a text is a sample, however many lie in a row"


def test_dapt_raises_the_likelihood_of_the_domain(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 12))
    before, after = _objectives(Dapt(lr=1e-3), session)
    assert after["nll"] < before["nll"]


def test_tapt_never_sees_a_completion(tmp_path: Path) -> None:
    """What stands in the completions cannot change what is learned, nor what is measured."""
    results = []
    for number, word in enumerate((None, "zebra")):
        session = tiny_session(tmp_path / str(number))
        if word:
            session.task = replace(
                session.task,
                loaders={
                    **session.task.loaders,
                    Format.PROMPT_COMPLETION: _with_completions(session, word),
                },
            )
        before, after = _objectives(Tapt(lr=1e-3), session)
        results.append((session.log.losses, before, after))
    assert results[0] == results[1]


def _with_completions(session: Session, word: str) -> Callable[[Any], Dataset]:
    load = session.task.loaders[Format.PROMPT_COMPLETION]
    return lambda split: load(split).map(
        lambda row: {"completion": word}, load_from_cache_file=False
    )


def test_tapt_learns_every_token_of_the_prompts_but_their_end(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 1))
    Tapt().train(session)
    session.close()
    other = tiny_session(tmp_path / "other", Budget("steps", 1))
    model, total, count = other.model(), 0.0, 0
    prompts = next(other.rows(Format.PROMPT_COMPLETION))["prompt"]
    for prompt in prompts:
        ids = torch.tensor([other.tokenizer(prompt)["input_ids"]])
        total += float(model(input_ids=ids, labels=ids).loss.detach()) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert session.log.losses == pytest.approx([total / count], rel=1e-5)


def test_tapt_raises_the_likelihood_of_the_prompts(tmp_path: Path) -> None:
    before, after = _objectives(Tapt(lr=1e-3), tiny_session(tmp_path, Budget("steps", 12)))
    assert after["prompt_nll"] < before["prompt_nll"]


def _objectives(method: Method, session: Session) -> tuple[dict[str, float], dict[str, float]]:
    """What a method optimises, before and after."""
    model = method.train(session)
    session.close()
    look = session.validation(session.start)
    with session.unmetered(), torch.no_grad():
        found = method.objective(look, look.reference()), method.objective(look, model.eval())
    look.close()
    return found


# ── biases ──


@pytest.mark.parametrize("kind", WITH_BIASES)
def test_bitfit_moves_every_bias_and_nothing_else(kind: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, start=WITH_BIASES[kind])
    method = BitFit(lr=1e-2)
    assert method.skip(session) is None
    before = _weights(session.reference())
    model = method.train(session)
    biases = {name for name in before if name.endswith("bias")}
    unmoved = biases - _moved(before, _weights(model))
    assert _moved(before, _weights(model)) <= biases
    assert all("k_proj" in name for name in unmoved), (
        "a bias of keys moves all scores alike, so that its gradient is rounding error"
    )
    assert {name for name, p in model.named_parameters() if p.requires_grad} == biases
    assert session.log.losses[-1] < session.log.losses[0]


def test_bitfit_is_skipped_where_there_are_no_biases(tmp_path: Path) -> None:
    assert BitFit().skip(tiny_session(tmp_path)) == "LlamaForCausalLM has no biases to train"


# ── layers in turn ──


def test_lisa_with_all_layers_is_full_fine_tuning_bit_for_bit(tmp_path: Path) -> None:
    lisa = Lisa(lr=1e-3, activated_layers=4, interval_steps=2).train(
        tiny_session(tmp_path / "lisa")
    )
    full = SFT(lr=1e-3).train(tiny_session(tmp_path / "sft"))
    assert _moved(_weights(lisa), _weights(full)) == set()


@pytest.mark.parametrize("layers", [1, 2])
def test_lisa_trains_so_many_layers_an_interval_and_leaves_the_others_bit_for_bit(
    layers: int, tmp_path: Path
) -> None:
    seen: list[tuple[set[str], int, set[str]]] = []
    last: dict[str, Tensor] = {}

    def look(model: PreTrainedModel) -> None:
        now = _weights(model)
        kept = {name for name, p in model.named_parameters() if p in session.optimizer_seen.state}
        seen.append(
            (_moved(last, now), sum(p.numel() for p in model.parameters() if p.requires_grad), kept)
        )
        last.update(now)

    session = _watched(tmp_path, look, steps=12)
    last.update(_weights(session.reference()))
    sizes = {name: weight.numel() for name, weight in last.items()}
    model = Lisa(lr=1e-3, activated_layers=layers, interval_steps=3).train(session)

    always = {name for name in sizes if ".layers." not in name}
    per_layer = sum(size for name, size in sizes.items() if ".layers.0." in name)
    drawn = [{name.split(".")[2] for name in moved - always} for moved, _, _ in seen]
    for moved, trainable, kept in seen:
        assert always <= moved
        assert trainable == sum(sizes[name] for name in always) + layers * per_layer
        assert kept == moved, "the optimizer keeps a state of what trains alone"
    assert all(len(numbers) == layers for numbers in drawn)
    assert all(drawn[i] == drawn[i - i % 3] for i in range(12)), (
        "layers change at the ends of intervals alone"
    )
    assert len(set(map(frozenset, drawn))) > 1, "other intervals train other layers"
    ever = set().union(*drawn)
    assert {
        name.split(".")[2]
        for name, p in model.named_parameters()
        if p.requires_grad and name not in always
    } == ever


def test_lisa_starts_the_state_of_a_layer_anew(tmp_path: Path) -> None:
    ages: list[dict[str, float]] = []

    def look(model: PreTrainedModel) -> None:
        names = {p: name for name, p in model.named_parameters()}
        ages.append(
            {names[p]: float(state["step"]) for p, state in session.optimizer_seen.state.items()}
        )

    session = _watched(tmp_path, look)
    Lisa(lr=1e-3, activated_layers=1, interval_steps=1).train(session)
    inside = [[age for name, age in one.items() if ".layers." in name] for one in ages]
    outside = [{age for name, age in one.items() if ".layers." not in name} for one in ages]
    assert outside == [{float(number + 1)} for number in range(STEPS)]
    assert min(max(one) for one in inside[1:]) == 1.0, "a layer drawn anew begins at its first step"


def test_lisa_is_charged_for_the_layers_that_train(tmp_path: Path) -> None:
    spent = {}
    for layers in (1, 2, 4):
        session = tiny_session(tmp_path / str(layers))
        Lisa(activated_layers=layers, interval_steps=1).train(session)
        spent[layers] = session.ledger.spent("flops")
    one_layer = (spent[2] - spent[1], (spent[4] - spent[2]) / 2)
    assert one_layer[0] == pytest.approx(one_layer[1], rel=1e-6)
    assert one_layer[0] > 0


def test_lisa_draws_by_its_seed(tmp_path: Path) -> None:
    one, same, other = (
        _weights(Lisa(lr=1e-3, interval_steps=1).train(tiny_session(tmp_path / name, seed=seed)))
        for name, seed in (("one", 1), ("same", 1), ("other", 2))
    )
    assert _moved(one, same) == set()
    assert _moved(one, other)


# ── low-rank optimizers ──


@pytest.mark.parametrize("method", [GaLore(), Apollo()], ids=lambda m: m.package)
def test_a_missing_package_is_named_with_the_way_to_install_it(
    method: LowRankOptimizer, tmp_path: Path
) -> None:
    if find_spec(method.package.replace("-", "_")):
        assert method.skip(tiny_session(tmp_path)) is None
    else:
        assert (
            method.skip(tiny_session(tmp_path))
            == f"the package {method.package} is missing: pip install {method.package}"
        )


def test_galore_moves_matrices_within_a_space_of_its_rank(tmp_path: Path) -> None:
    pytest.importorskip("galore_torch")
    before, after = _trained(GaLore(lr=1e-3, rank=4, scale=1.0), tmp_path)
    for name in (n for n in before if ".layers." in n and before[n].ndim == 2):
        singular = torch.linalg.svdvals(after[name] - before[name])
        assert float(singular[4] / singular[0]) < 1e-3, name
    assert len(_moved(before, after)) == len(before)


def test_apollo_scales_gradients_by_channel(tmp_path: Path) -> None:
    """Its first step is the gradient with each channel scaled, as plain gradient descent with a
    rate per channel would step.
    """
    pytest.importorskip("apollo_torch")
    gradient = _first_gradients(tmp_path / "gradient")
    before, after = _trained(Apollo(lr=1e-3, rank=4), tmp_path / "apollo", steps=1)
    for name in (n for n in before if ".layers." in n and before[n].ndim == 2):
        step, slope = before[name] - after[name], gradient[name]
        channels = 1 if slope.shape[0] >= slope.shape[1] else 0
        cosine = torch.nn.functional.cosine_similarity(step, slope, dim=channels)
        assert float(cosine.min()) > 0.99, name


def _trained(
    method: Method, folder: Path, steps: int = STEPS
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    session = tiny_session(folder, Budget("steps", steps))
    return _weights(session.reference()), _weights(method.train(session))


def _first_gradients(folder: Path) -> dict[str, Tensor]:
    session = tiny_session(folder)
    model = session.model()
    model(**next(session.batches(Format.PROMPT_COMPLETION))).loss.backward()
    session.close()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
