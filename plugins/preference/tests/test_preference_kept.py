"""What the objective looks at before and after training: the same matches, as they were sampled."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_preference import RSO, SLiCHF
from bench_preference.ends import CutOff
from bench_preference.match import Match
from bench_preference.sampled import Sampling
from transformers import set_seed

from bench import Conversation
from bench.accounting.budget import Budget
from bench.data.chat import ChatSpec
from bench.methods.session import Session
from bench.testing import tiny_session

from .half_right import objectives

FEW: dict[str, Any] = {"num_candidates": 4, "max_new_tokens": 2, "max_prompts": 8}
"""Most answers of the task are longer, so most samples are cut off."""
LINES = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
)


def _session(folder: Path) -> Session:
    return tiny_session(folder, Budget("steps", 10), "tiny/swap")


def _talking(folder: Path) -> Session:
    session = _session(folder)
    session.task = replace(session.task, chat=ChatSpec())
    session.tokenizer.chat_template = LINES
    return session


def _as_sampled(batches: list[list[Match]]) -> list[list[Any]]:
    """Matches with the tokens of those samples that were cut off."""
    return [
        [
            [(cell, cell.ids if isinstance(cell, CutOff) else None) for cell in match]
            for match in one
        ]
        for one in batches
    ]


@pytest.mark.parametrize("made", [_session, _talking])
def test_matches_that_are_kept_are_those_that_were_drawn(made: Any, tmp_path: Path) -> None:
    session, method = made(tmp_path), SLiCHF(**FEW)
    method.train(session)
    looks = [session.validation(session.start) for _ in range(3)]
    set_seed(0)
    drawn = _as_sampled(list(method.drawn(looks[0])))
    assert any(ids for one in drawn for match in one for _, ids in match), "some are cut off"
    asked = {type(match[0][0]) for one in drawn for match in one}
    assert asked == {Conversation if made is _talking else str}
    set_seed(0)
    for look in looks[1:]:  # the first draws and keeps them, the second reads them
        assert _as_sampled(list(method.looked_at(look))) == drawn
        look.close()
    session.close()


@pytest.mark.parametrize("kind", [SLiCHF, RSO])
def test_methods_on_ranked_samples_have_an_objective_on_conversations(
    kind: type[Sampling], tmp_path: Path
) -> None:
    session, method = _talking(tmp_path), kind(**FEW)
    model = method.train(session)
    session.close()
    for values in objectives(method, session, model):
        assert {"loss", "reward_margin"} >= {method.goal[0]} <= set(values)
        assert all(map(math.isfinite, values.values()))
