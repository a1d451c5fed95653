"""Texts side by side in a row, none of which sees another: the same gradient and the same charge,
for every method.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench import token_log_probs, token_logits, token_losses
from bench.methods.recipe import apply
from bench.methods.registry import usable
from bench.models.padding_free import MARK
from bench.models.spec import ModelSpec
from bench.system.errors import Skipped
from bench.testing import tiny_session

from ..conftest import Bench
from ..little import little
from ..methods.test_split import NAMES, gradients, without_noise
from ..runs import records, write_suite


@pytest.mark.parametrize("name", [name for name in NAMES if not usable(name).padded])
def test_the_gradient_and_the_charge_are_those_of_padded_rows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_noise(name, monkeypatch)
    padded, before = gradients(name, tmp_path / "padded", monkeypatch)
    free, after = gradients(name, tmp_path / "free", monkeypatch, padding_free=True)
    assert len(padded) == len(free)
    for one, other in zip(padded, free, strict=True):
        assert float((one - other).norm()) <= 1e-4 * float(one.norm())
    spent, again = (
        {purpose: (float(s.tokens), float(s.samples)) for purpose, s in ledger.purposes.items()}
        for ledger in (before, after)
    )
    assert again == spent
    for purpose, spend in after.purposes.items():
        assert float(spend.flops) == pytest.approx(float(before.purposes[purpose].flops), rel=1e-6)


def test_rows_get_fewer_and_every_token_keeps_its_place(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, padding_free=True)
    model = session.model().eval()
    prompts = ["a", "b c d e f g h i", "b c", "one two three", "x"]
    batch = session.encode(prompts, [" yes", " no no no no", " no", " maybe", " yes"])
    shapes: list[tuple[int, ...]] = []
    model.base_model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    with torch.no_grad():
        found = [f(model, batch) for f in (token_losses, token_log_probs, token_logits)]
        rows, length = batch["input_ids"].shape
        assert all(shape[0] < rows and shape[1] == length for shape in shapes)
        setattr(model, MARK, False)
        expected = [f(model, batch) for f in (token_losses, token_log_probs, token_logits)]
    assert shapes[-1] == (rows, length)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["prompt-tuning", "lwf"])
def test_a_method_whose_batches_stay_padded_is_a_skipped_row(name: str, tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="cannot train without padding"):
        apply(name, little(name), tiny_session(tmp_path, padding_free=True))


def test_a_model_that_reads_a_row_as_one_text_is_a_skipped_row(tmp_path: Path) -> None:
    shape = {"random": "bloom", "tokenizer": "tiny", "vocab_size": 300, "hidden_size": 32}
    start = ModelSpec.model_validate(shape | {"n_layer": 2, "n_head": 2})
    session = tiny_session(tmp_path, start=start, padding_free=True)
    with pytest.raises(Skipped, match="BloomForCausalLM, which cannot tell texts"):
        session.model()


@pytest.mark.slow
def test_a_suite_without_padding(bench_process: Bench, tmp_path: Path) -> None:
    write_suite(tmp_path, "  - sft\n  - prefix-tuning\n", "tokens: 2k", "1")
    file = tmp_path / "suite.yaml"
    file.write_text(
        file.read_text().replace("max_length: 64", "max_length: 64, padding_free: true")
    )
    result = bench_process("run", "suite.yaml", "--results", "results")
    assert result.returncode == 0, result.stdout + result.stderr
    found = records(tmp_path)
    assert found["sft-s0"]["status"] == "ok" and found["sft-s0"]["batch"]["padding_free"]
    assert found["prefix-tuning-s0"]["status"] == "skipped"


def test_a_plan_says_which_rows_cannot(bench: Bench, tmp_path: Path) -> None:
    text = (
        "suite: small\nmodel: tiny\ntarget: tiny/smallest\nbudget: {steps: 2}\n"
        "batch: {padding_free: true}\nmethods: [sft, p-tuning]\n"
    )
    (tmp_path / "suite.yaml").write_text(text)
    told = bench("plan", "suite.yaml")
    assert told.returncode == 0
    assert "cannot train without padding" in " ".join(told.stdout.split())
