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
from bench_supervised.low_rank import Apollo, GaLore, LowRankOptimizer
from bench_supervised.partial import BitFit
from bench_supervised.pretraining import Dapt, Tapt
from datasets import Dataset
from torch import Tensor

from bench.accounting.budget import Budget
from bench.data.formats import Format
from bench.methods.method import Method
from bench.methods.session import Session
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

from .watched import STEPS, changed, weights

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
    before = weights(session.reference())
    model = method.train(session)
    biases = {name for name in before if name.endswith("bias")}
    unmoved = biases - changed(before, weights(model))
    assert changed(before, weights(model)) <= biases
    assert all("k_proj" in name for name in unmoved), (
        "a bias of keys moves all scores alike, so that its gradient is rounding error"
    )
    assert {name for name, p in model.named_parameters() if p.requires_grad} == biases
    assert session.log.losses[-1] < session.log.losses[0]


def test_bitfit_is_skipped_where_there_are_no_biases(tmp_path: Path) -> None:
    assert BitFit().skip(tiny_session(tmp_path)) == "LlamaForCausalLM has no biases to train"


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
    assert len(changed(before, after)) == len(before)


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
    return weights(session.reference()), weights(method.train(session))


def _first_gradients(folder: Path) -> dict[str, Tensor]:
    session = tiny_session(folder)
    model = session.model()
    model(**next(session.batches(Format.PROMPT_COMPLETION))).loss.backward()
    session.close()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
