"""Texts of the start model's own beside conversations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import bench_continual as continual
import pytest
import torch
from bench_continual.sampling import with_texts

from bench import Conversation, Format, Session
from bench.data.chat import ChatSpec
from bench.testing import tiny_session

from .fine_tuning import TUNED, trained

LINES = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
)
TEXTS = ["copy a b ?", "largest of 1 2 3 ? 3"]


def _talking(folder: Path) -> Session:
    session = tiny_session(folder)
    session.task = replace(session.task, chat=ChatSpec())
    session.tokenizer.chat_template = LINES
    return session


@pytest.mark.parametrize("count", [0, 2, 8])
def test_texts_beside_plain_rows_are_rows_without_a_prompt(count: int, tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    rows = session.dataset(Format.PROMPT_COMPLETION)[: 8 - count]
    texts = (TEXTS * 4)[:count]
    both = session.encode([*rows["prompt"], *[""] * count], [*rows["completion"], *texts])
    made = with_texts(session, rows, texts)
    assert made.keys() == both.keys()
    assert all(torch.equal(made[name], both[name]) for name in both)


def test_texts_beside_conversations_are_what_they_are_beside_plain_rows(tmp_path: Path) -> None:
    session = _talking(tmp_path)
    rows = next(session.rows(Format.PROMPT_COMPLETION))
    assert all(isinstance(prompt, Conversation) for prompt in rows["prompt"])
    made = with_texts(session, rows, TEXTS)
    alone = session.encode([""] * 2, TEXTS)
    talk = session.encode(rows["prompt"], rows["completion"])
    assert len(made["labels"]) == len(rows["prompt"]) + 2
    for name, whole in made.items():
        for part, found in ((alone, whole[-2:]), (talk, whole[:-2])):
            assert torch.equal(found[:, : part[name].shape[1]], part[name]), name
    session.close()


def test_self_replay_learns_from_conversations(tmp_path: Path) -> None:
    session = _talking(tmp_path)
    trained(continual.SelfReplay(samples=16, replay_ratio=0.25, **TUNED), session)
    assert session.ledger.steps == 4
    assert session.ledger.purposes["rollout"].samples == 16
