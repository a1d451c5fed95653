"""What a session gives a method: the same data order for all, float32 masters, and a schedule that follows the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, PeftModelForCausalLM

from bench.budget import Budget
from bench.data import collate, encode, order, token_id
from bench.ledger import Ledger
from bench.method import Format
from bench.models import ModelSpec, load_model, load_tokenizer
from bench.session import Session, derive, schedule
from bench.tiny.tasks import tiny_task

TINY = ModelSpec(path="tiny")
CPU = torch.device("cpu")
TOKENIZER = load_tokenizer(TINY)


def _session(folder: Path, dtype: torch.dtype = torch.float32, steps: int = 4, **changes: Any) -> Session:
    given: dict[str, Any] = {
        "task": tiny_task("tiny/smallest"),
        "tokenizer": TOKENIZER,
        "budget": Budget("steps", steps),
        "seed": 5,
        "device": CPU,
        "dtype": dtype,
        "folder": folder,
        "batch_size": 8,
        "max_length": 64,
        "ledger": Ledger(),
        "_load": lambda: load_model(TINY, dtype, CPU),
        "_data_seed": 3,
        "_tell": lambda fraction: None,
    }
    return Session(**{**given, **changes})


def _train(session: Session, model: torch.nn.Module, lr: float = 1e-3) -> list[torch.Tensor]:
    optimizer = session.optimizer(model, lr)
    seen = []
    for batch in session.batches(Format.PROMPT_COMPLETION):
        seen.append(batch["input_ids"])
        session.step(optimizer, model(**batch).loss)
    session.close()
    return seen


def test_every_method_sees_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    first = _session(tmp_path)
    rows_of_one = _train(first, first.model())
    second = _session(tmp_path, seed=77)
    rows_of_other = _train(second, second.model(), 3e-3)
    assert len(rows_of_one) == 4
    assert all(torch.equal(a, b) for a, b in zip(rows_of_one, rows_of_other, strict=True))
    whole = first.dataset(Format.PROMPT_COMPLETION)
    expected = collate(encode(whole[:8], Format.PROMPT_COMPLETION, TOKENIZER, 64), 0)["input_ids"]
    assert torch.equal(rows_of_one[0], expected), "a trainer's dataset is in the order of the batches"


def test_a_model_is_handed_out_fresh(tmp_path: Path) -> None:
    session = _session(tmp_path)
    one = session.model()
    with torch.no_grad():
        next(one.parameters()).zero_()
    assert bool(next(session.model().parameters()).any())


def test_what_trains_is_float32_and_what_is_frozen_keeps_the_dtype(tmp_path: Path) -> None:
    session = _session(tmp_path, torch.bfloat16)
    model = session.model()
    before = next(model.parameters()).clone()
    _train(session, model, 1e-5)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    moved = (next(model.parameters()) != before.float()).float().mean()
    assert moved > 0.1, "steps smaller than bfloat16 can hold are not lost"

    session = _session(tmp_path, torch.bfloat16)
    adapted = PeftModelForCausalLM(session.model(), LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"))
    _train(session, adapted)
    assert {p.dtype for p in adapted.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in adapted.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_the_learning_rate_rises_shortly_and_falls_to_nothing() -> None:
    assert schedule(0.0) == pytest.approx(0.1)
    assert schedule(0.05) == pytest.approx(0.95)
    assert schedule(0.5) == pytest.approx(0.5)
    assert schedule(1.0) == 0.0


@given(st.floats(0, 1.5))
def test_the_schedule_stays_within_bounds(fraction: float) -> None:
    assert 0.0 <= schedule(fraction) <= 1.0


@given(st.integers(1, 200), st.integers(0, 2**31))
def test_an_epoch_is_a_permutation(count: int, seed: int) -> None:
    numbers = order(count, seed)
    for _ in range(2):
        assert sorted(next(numbers) for _ in range(count)) == list(range(count))


def test_axes_of_one_seed_are_apart_and_stay_what_they_are() -> None:
    assert derive(0, "data/0") != derive(0, "method/sft/0")
    # Python's own: int.from_bytes(hashlib.sha256(b"0/data/0").digest()[:4], "big") >> 1
    assert derive(0, "data/0") == 638025320


def test_a_long_prompt_loses_its_start_and_the_completion_stays() -> None:
    rows = {"prompt": ["copy " + " ".join("abcdefgh" * 4) + " ?"], "completion": [" a b"]}
    ((ids, labels),) = encode(rows, Format.PROMPT_COMPLETION, TOKENIZER, 10)
    assert len(ids) == len(labels) == 10
    learned = [i for i in labels if i != -100]
    assert TOKENIZER.decode(learned) == "a b<eos>"


def test_padding_and_prompts_are_not_learned() -> None:
    rows = {"prompt": ["add 20 and 10 ?", "copy a ?"], "completion": [" 30", " a"]}
    batch = collate(encode(rows, Format.PROMPT_COMPLETION, TOKENIZER, 64), token_id(TOKENIZER, "pad"))
    learned = batch["labels"] != -100
    assert learned.sum(1).tolist() == [3, 2]
    assert not (learned & (batch["attention_mask"] == 0)).any()
    assert torch.equal(batch["labels"][learned], batch["input_ids"][learned])
