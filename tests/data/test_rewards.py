"""Rewards of a task: functions with TRL's signature, and classifiers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import Conversation, Reward
from bench.accounting.budget import Budget
from bench.data.rewards import functions
from bench.models.spec import TINY
from bench.system.errors import BrokenReward
from bench.testing import tiny_session

from ..rewards import FUNCTIONS, TALK, TEMPLATE, judge_in

# ── functions ──


def _given(count: int, **columns: list[Any]) -> dict[str, Any]:
    return {"prompts": ["p"] * count, "completions": ["ab"] * count, **columns}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("raises", "reward rewards.py:raises raised ValueError: 8 is unlucky, at line 10"),
        ("leaves", "reward rewards.py:leaves raised SystemExit, at line 13"),
        ("few", "reward rewards.py:few gave 3 rewards for 8 completions"),
        ("nan", "reward rewards.py:nan gave nan for completion 1, not a finite number or None"),
        ("word", "reward rewards.py:word gave 'good' for completion 0"),
        ("nothing", "reward rewards.py:nothing gave None, not a list of rewards"),
        ("hangs", "reward rewards.py:hangs took more than 0.2 s for 8 completions"),
        ("short", "reward rewards.py:short raised TypeError: short() missing 1 required"),
    ],
)
def test_a_broken_function_is_named_with_what_it_did(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "rewards.py").write_text(FUNCTIONS)
    with pytest.raises(BrokenReward) as error:
        functions.earned(f"rewards.py:{name}", tmp_path, 8, _given(8), limit=0.2)
    assert str(error.value).startswith(told)


def test_a_function_is_called_as_trl_calls_it(tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text(FUNCTIONS)
    session = tiny_session(tmp_path / "work")
    several = [{"rewards.py:short": 0.5}, {"rewards.py:later": 2}]
    session.task = replace(session.task, reward=Reward.of(several, tmp_path))
    rows = {"prompt": ["copy a ?"] * 2, "answer": ["a", "a"], "bonus": [7, -1]}
    earned = session.reward(rows, ["a", "b c"])
    assert earned.dtype == torch.float32
    assert earned.tolist() == [0.5 * 6 + 4, 4], "None counts nothing"
    [(prompts, completions, bonus, others)] = functions.ready(
        "rewards.py:short", tmp_path
    ).__globals__["calls"]
    assert (prompts, completions, bonus) == (["copy a ?"] * 2, ["a", "b c"], [7, -1])
    assert others == ["answer", "completion_ids", "log_extra", "log_metric", "trainer_state"]
    session.close()


def test_conversations_have_the_shape_that_trls_own_functions_read(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    thinks = Reward.of("trl.rewards:think_format_reward")
    session.task = replace(session.task, reward=thinks)
    talk = Conversation(({"role": "user", "content": "Why?"},))
    said = ["<think>\nhm\n</think>\nso", "so"]
    assert session.reward({"prompt": [talk] * 2}, said).tolist() == [1, 0]
    session.close()


def test_verifiers_know_the_most_that_can_be_earned() -> None:
    assert Reward.of("number").highest == 1
    assert Reward.of([{"number": 0.8}, {"exact": 0.2}, {"choice": -1}]).highest == 1
    assert Reward.of(["exact", "rewards.py:short"]).highest is None
    assert Reward.of({"model": "judge"}).highest is None


# ── classifiers ──


def test_a_classifier_judges_frozen_once_loaded_and_charged(tmp_path: Path) -> None:
    model, tokenizer = judge_in(tmp_path / "judge", TEMPLATE)
    session = tiny_session(tmp_path / "work", Budget("steps", 4))
    session.task = replace(session.task, reward=Reward.of({"model": "./judge"}, tmp_path))
    said = [" a", " a b", " c"]
    talk = Conversation(({"role": "user", "content": "copy a ?"},))
    for prompt, whole in (("copy a ?", "<bos>copy a ?{}"), (talk, TALK)):
        earned = session.reward({"prompt": [prompt] * 3}, said)
        with torch.no_grad():
            read = [tokenizer(whole.format(t), add_special_tokens=False)["input_ids"] for t in said]
            alone = [float(model(torch.tensor([ids])).logits) for ids in read]
        assert earned.tolist() == pytest.approx(alone, abs=1e-4)
        assert len(set(alone)) == 3
    assert len(session.judges) == 1
    [judge] = session.judges.values()
    assert not any(p.requires_grad for p in judge.model.parameters())
    [(purpose, spent)] = session.ledger.by_purpose().items()
    assert purpose == "reward" and spent["tokens"] > 40 and spent["samples"] == 6
    session.close()


def test_a_classifier_without_its_head_or_template_is_refused(tmp_path: Path) -> None:
    judge_in(tmp_path / "judge")
    session = tiny_session(tmp_path / "work")
    talk = Conversation(({"role": "user", "content": "copy a ?"},))
    session.task = replace(session.task, reward=Reward.of({"model": "judge"}, tmp_path))
    with pytest.raises(BrokenReward, match="its tokenizer has no chat template"):
        session.reward({"prompt": [talk]}, ["a"])
    session.task = replace(session.task, reward=Reward.of({"model": str(TINY)}))
    with pytest.raises(BrokenReward, match=r"it has no score\.weight"):
        session.reward({"prompt": ["copy a ?"]}, ["a"])
    session.close()
