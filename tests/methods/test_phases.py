"""Every phase of a training that steps an optimizer has the whole schedule of the learning rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import Format, token_losses
from bench.accounting.budget import Budget
from bench.methods.phase import Phase
from bench.methods.recipe import apply
from bench.methods.registry import usable
from bench.methods.schedule import schedule
from bench.methods.session import Session
from bench.testing import tiny_session

LR = 1e-3


def _fit(session: Session, model: Any, first: float = 0.0) -> None:
    """Read until the share `first` of the budget is spent, and learn from there on."""
    optimizer = session.optimizer(model, LR)
    for batch in session.batches(Format.PROMPT_COMPLETION):
        if session.progress < first:
            with torch.no_grad():
                model(**batch)
        else:
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
    session.close()


def _rates(session: Session) -> list[list[float]]:
    return [phase["lr"] for phase in session.log.journal()]


def test_what_only_reads_before_leaves_the_whole_schedule(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("tokens", 12_000))
    _fit(session, session.model(), first=0.4)
    (rates,) = _rates(session)
    assert rates[0] == pytest.approx(0.1 * LR)
    assert max(rates) > 0.9 * LR
    assert rates.index(max(rates)) < len(rates) / 10
    assert rates[-1] < 0.1 * LR


def test_a_method_of_one_phase_learns_as_the_whole_budget_says(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 30))
    _fit(session, session.model())
    (phase,) = session.log.journal()
    assert phase["step"] == list(range(1, 31))
    assert phase["lr"] == [float(f"{LR * schedule(n / 30):.5g}") for n in range(30)]
    assert phase["loss"] == pytest.approx(session.log.losses, rel=1e-4)


def test_a_journal_is_short_and_holds_both_ends(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 130), batch_size=1)
    with session.stage("first", until=0.5) as stage:
        _fit(stage, stage.model())
    _fit(session, session.model())
    first, second = session.log.journal()
    assert (first["stage"], second["stage"]) == ("first", "")
    assert (first["step"][0], first["step"][-1]) == (1, 65)
    assert (second["step"][0], second["step"][-1]) == (66, 130)
    for phase in (first, second):
        assert len(phase["step"]) == len(phase["lr"]) == len(phase["loss"]) == 50
        assert phase["lr"][0] == pytest.approx(0.1 * LR)
        assert phase["lr"][-1] < 0.05 * LR
        assert None not in phase["loss"]


PHASED: dict[str, tuple[dict[str, Any], int]] = {
    "ppo": ({"reward": "model", "reward_lr": LR, "lr": LR, "max_completion_length": 4}, 2),
    "grpo": ({"reward": "model", "reward_lr": LR, "lr": LR, "max_completion_length": 4}, 2),
    "slic-hf": ({"ranker_lr": LR, "lr": LR, "max_new_tokens": 4}, 2),
    "ewc": ({"lr": LR, "fisher_examples": 64}, 1),
    "sft": ({"lr": LR}, 1),
}
"""Settings of each method, and how many of its phases step an optimizer."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PHASED)
def test_each_phase_of_a_method_rises_and_falls(name: str, tmp_path: Path) -> None:
    settings, count = PHASED[name]
    session = tiny_session(tmp_path, Budget("tokens", 40_000))
    apply(name, usable(name).model_validate(settings), session)
    session.close()
    phases = _rates(session)
    assert len(phases) == count
    for rates in phases:
        assert rates[0] == pytest.approx(0.1 * LR)
        assert max(rates) > 0.6 * LR, "few steps may leap over the peak"
        assert rates[-1] < 0.35 * LR


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_share_of_a_phase_stays_within_bounds(begun: float, spent: float) -> None:
    phase = Phase("", min(begun, spent))
    assert 0.0 <= phase.share(max(begun, spent)) <= 1.0
    assert phase.share(1.0) == 1.0
    assert phase.share(phase.begun) == (0.0 if phase.begun < 1.0 else 1.0)
    assert Phase("", 0.0).share(spent) == spent, "bit for bit"
