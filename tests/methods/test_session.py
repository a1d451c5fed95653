"""What a session gives a method: the same data order for all, float32 masters, and a schedule that
follows the budget.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, PeftModelForCausalLM
from transformers import BertConfig, BertForSequenceClassification

from bench import Reward, token_losses
from bench.accounting.budget import Budget
from bench.data.formats import Format
from bench.data.order import derive, order
from bench.data.tokenize import collate, encode, pack, token_id
from bench.methods.schedule import Diverged, schedule
from bench.methods.session import Session
from bench.models.load import load_tokenizer
from bench.models.spec import ModelSpec
from bench.testing import tiny_session
from tests.little import kind
from tests.methods.test_split import first_rows

TOKENIZER = load_tokenizer(ModelSpec(path="tiny"))


def _train(session: Session, model: torch.nn.Module, lr: float = 1e-3) -> list[torch.Tensor]:
    optimizer = session.optimizer(model, lr)
    seen = []
    for batch in session.batches(Format.PROMPT_COMPLETION):
        seen.append(batch["input_ids"])
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    session.close()
    return seen


def test_every_method_sees_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    first = tiny_session(tmp_path)
    rows_of_one = _train(first, first.model())
    second = tiny_session(tmp_path, seed=77)
    rows_of_other = _train(second, second.model(), 3e-3)
    assert len(rows_of_one) == 4
    assert all(torch.equal(a, b) for a, b in zip(rows_of_one, rows_of_other, strict=True))
    whole = first.dataset(Format.PROMPT_COMPLETION)
    expected = collate(encode(whole[:8], Format.PROMPT_COMPLETION, TOKENIZER, 64), TOKENIZER)
    assert torch.equal(rows_of_one[0], expected["input_ids"]), (
        "a trainer's dataset is in the order of the batches"
    )


def test_a_model_is_handed_out_fresh(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    one = session.model()
    with torch.no_grad():
        next(one.parameters()).zero_()
    assert bool(next(session.model().parameters()).any())


def test_what_trains_is_float32_and_what_is_frozen_keeps_the_dtype(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, dtype=torch.bfloat16)
    model = session.model()
    before = next(model.parameters()).clone()
    _train(session, model, 1e-5)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    moved = (next(model.parameters()) != before.float()).float().mean()
    assert moved > 0.1, "steps smaller than bfloat16 can hold are not lost"

    session = tiny_session(tmp_path, dtype=torch.bfloat16)
    adapted = PeftModelForCausalLM(
        session.model(), LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")
    )
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
    batch = collate(encode(rows, Format.PROMPT_COMPLETION, TOKENIZER, 64), TOKENIZER)
    learned = batch["labels"] != -100
    assert learned.sum(1).tolist() == [3, 2]
    assert not (learned & (batch["attention_mask"] == 0)).any()
    assert torch.equal(batch["labels"][learned], batch["input_ids"][learned])


def test_packed_texts_are_read_as_if_each_stood_alone(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model = session.model().eval()
    texts = session.dataset(Format.LANGUAGE_MODELING)[:12]["text"]
    packed = session.pack(texts)
    alone = collate(encode({"text": texts}, Format.LANGUAGE_MODELING, TOKENIZER, 64), TOKENIZER)
    assert packed["input_ids"].shape[0] < len(texts) / 2
    with torch.no_grad():
        together = _nll(
            model(input_ids=packed["input_ids"], position_ids=packed["position_ids"]).logits,
            packed["labels"],
        )
        apart = _nll(
            model(input_ids=alone["input_ids"], attention_mask=alone["attention_mask"]).logits,
            alone["labels"],
        )
    assert together == pytest.approx(apart, rel=1e-5)


def _nll(logits: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """Total and count over the labelled tokens."""
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=-100
    )
    return [float(losses.sum()), float((labels[:, 1:] >= 0).sum())]


@given(
    st.lists(
        st.lists(st.sampled_from("abcdefgh"), max_size=40).map(" ".join), min_size=1, max_size=12
    ),
    st.integers(4, 64),
)
def test_packing_loses_no_token(texts: list[str], width: int) -> None:
    packed = pack(texts, TOKENIZER, width)
    ends = token_id(TOKENIZER, "eos")
    expected = sum(len(ids) + 1 for ids in TOKENIZER(texts)["input_ids"])
    assert packed["input_ids"].shape[1] <= width
    assert int((packed["input_ids"] != token_id(TOKENIZER, "pad")).sum()) == expected
    assert int((packed["input_ids"] == ends).sum()) == len(texts)


def test_a_part_spends_up_to_its_share_and_steps_are_counted_once(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 10))
    orders = []
    for name, until in (("0", 0.3), ("1", 1.0)):
        with session.stage(name, until) as part:
            orders.append(_rows_seen(part))
    assert [len(o) for o in orders] == [3, 7]
    assert session.ledger.steps == 10
    assert orders[0] != orders[1][:3], "a later part sees the rows in another order"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_reward_model_of_any_kind_judges_however_the_start_is_trained(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    shape: dict[str, Any] = {**small, "num_attention_heads": 2, "num_labels": 1}
    encoder = BertConfig(vocab_size=len(TOKENIZER), **shape)
    BertForSequenceClassification(encoder).save_pretrained(tmp_path / "judge")
    TOKENIZER.save_pretrained(tmp_path / "judge")
    how = {"compiled": True, "padding_free": True, "checkpointing": True, "dtype": dtype}
    session = tiny_session(tmp_path / "work", **how)
    session.task = replace(session.task, reward=Reward.of({"model": "./judge"}, tmp_path))
    earned = session.reward({"prompt": ["copy a ?"] * 2}, [" a", " b c"])
    assert earned.shape == (2,) and bool(earned.isfinite().all())
    spent = session.ledger.by_purpose()["reward"]
    assert spent["samples"] == 2 and spent["flops"] > 0
    session.close()


def test_equal_parts_step_no_more_often_than_the_whole(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 300), batch_size=1)
    weight = torch.nn.Linear(1, 1)
    for number, until in enumerate(accumulate([1 / 3] * 3)):
        with session.stage(str(number), until) as part:
            optimizer = part.optimizer(weight, 1e-3)
            for _ in part.rows(Format.PROMPT_COMPLETION):
                optimizer.step()
        assert session.ledger.steps == 100 * (number + 1)


def _rows_seen(session: Session) -> list[list[str]]:
    model = session.model()
    optimizer = session.optimizer(model, 1e-4)
    seen = []
    for rows in session.rows(Format.PROMPT_COMPLETION):
        seen.append(rows["prompt"])
        batch = session.encode(rows["prompt"], rows["completion"])
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    return seen


def test_looking_at_a_model_costs_nothing_and_shows_validation_rows_once(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model = session.model()
    with session.unmetered():
        look = session.validation(session.start)
        prompts = [
            prompt for rows in look.rows(Format.PROMPT_COMPLETION) for prompt in rows["prompt"]
        ]
        model(**look.encode(prompts[:4], [" a"] * 4))
        look.close()
    assert prompts == session.task.load(Format.PROMPT_COMPLETION, "validation")["prompt"][:64]
    assert session.ledger.totals() | {"seconds": 0} == {
        "tokens": 0,
        "flops": 0,
        "seconds": 0,
        "samples": 0,
        "steps": 0,
    }


def test_old_rows_come_evenly_from_the_old_tasks(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    drawn = next(session.old_rows(Format.PROMPT_COMPLETION, 40))["prompt"]
    known = [set(task.load(Format.PROMPT_COMPLETION, "train")["prompt"]) for task in session.old]
    assert [sum(prompt in k for prompt in drawn) for k in known] == [20, 20]


@pytest.mark.parametrize("name", ["sft", "by-trainer"])
def test_a_loss_that_is_no_number_ends_a_training(name: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 4))
    session.task = first_rows(session.task)
    with pytest.raises(Diverged, match=r"at step [23]"):
        kind(name).model_validate({"lr": 1e30}).train(session)
    session.close()
