"""Dropout is off while preferences are learned: the first loss is what it is without noise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import bench_preference
import pytest
import torch
from bench_preference.pairs import PairMethod, ReferenceMethod
from bench_preference.ranker import ranking_losses, trained_ranker

from bench.accounting.budget import Budget
from bench.data.formats import Format
from bench.methods.method import Method
from bench.methods.session import Session
from bench.models.spec import ModelSpec
from bench.testing import tiny_session

DROPS = ModelSpec.model_validate(
    {"random": "gpt2", "tokenizer": "tiny", "vocab_size": 300, "n_embd": 64, "n_layer": 2}
    | {"n_head": 2, "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}
)


def _session(folder: Path, **changes: Any) -> Session:
    return tiny_session(folder, Budget("steps", 1), start=DROPS, **changes)


def test_the_model_of_these_tests_has_dropout(tmp_path: Path) -> None:
    session = _session(tmp_path)
    model = session.model()
    ids = session.encode(["smallest of 8 9 7 ?"], [" 7"])["input_ids"]
    with torch.no_grad():
        assert not torch.allclose(model(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DPO", math.log(2)),
        ("StepwiseDPO", math.log(2)),
        ("RobustDPO", math.log(2)),
        ("DPONorm", math.log(2)),
        ("LDDPO", math.log(2)),
        ("IPO", 25.0),
        ("KTO", 0.5),
    ],
)
def test_the_first_loss_against_a_reference_is_that_of_no_difference(
    name: str, expected: float, tmp_path: Path
) -> None:
    method: Method = getattr(bench_preference, name)()
    session = _session(tmp_path)
    method.train(session)
    session.close()
    assert session.log.losses[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["ORPO", "SimPO", "CPO", "SLiCHFDirect", "RRHF", "TPO"])
def test_the_first_loss_without_a_reference_is_that_of_the_model_as_it_answers(
    name: str, tmp_path: Path
) -> None:
    method: Any = getattr(bench_preference, name)()
    session = _session(tmp_path / "trained")
    method.train(session)
    session.close()
    looked = _session(tmp_path / "looked")
    (format,) = method.formats
    rows, model = next(looked.rows(format)), looked.model().eval()
    with torch.no_grad():
        if isinstance(method, PairMethod):
            from bench_preference.likelihood import paired

            expected = method.loss(*paired(model, looked, rows))
        else:
            expected = method.losses(model, looked, rows)
    assert session.log.losses[0] == pytest.approx(float(expected.mean()), rel=1e-5)


def test_a_ranker_learns_without_dropout(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 4), start=DROPS)
    ranker = trained_ranker(session, 0.25, 1e-5).train()
    rows = next(session.rows(Format.PREFERENCE))
    with session.unmetered(), torch.no_grad():
        one, other = (ranking_losses(ranker, session, rows) for _ in range(2))
    assert torch.equal(one, other)


def test_rates_that_a_model_keeps_as_numbers_are_off_too(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    session = tiny_session(tmp_path)
    vocabulary = len(session.tokenizer)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    config = LlamaConfig(
        vocab_size=vocabulary, num_attention_heads=2, attention_dropout=0.5, **sizes
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    session.tokenizer.save_pretrained(tmp_path / "llama")
    start = ModelSpec(path=str(tmp_path / "llama"))
    first = tiny_session(tmp_path / "session", Budget("steps", 1), start=start)
    ReferenceMethod.train(bench_preference.DPO(), first)
    first.close()
    assert first.log.losses[0] == pytest.approx(math.log(2), abs=1e-6)
