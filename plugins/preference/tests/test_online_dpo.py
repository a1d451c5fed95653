"""Online DPO: what it samples, pairs and is charged for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_preference import OnlineDPO
from bench_preference.match import Match
from bench_preference.ranker import by_reward

from bench.accounting.budget import Budget
from bench.data.formats import Format
from bench.testing import tiny_session

from .half_right import half_right, objectives, tokens, worthless


def test_online_dpo_starts_at_ln_2_and_charges_each_pass_to_its_purpose(tmp_path: Path) -> None:
    session = half_right(tmp_path, Budget("steps", 2))
    OnlineDPO(lr=1e-4, max_new_tokens=6).train(session)
    session.close()
    assert session.log.losses[0] == pytest.approx(math.log(2), abs=1e-6)
    spent = tokens(session)
    assert set(spent) == {"rollout", "reference", "train"}
    assert spent["reference"] == spent["train"] > 0


def test_online_dpo_pairs_what_earns_more_with_what_earns_less(tmp_path: Path) -> None:
    session = half_right(tmp_path, Budget("steps", 2))
    method, rows = OnlineDPO(max_new_tokens=6), next(session.rows(Format.PROMPT_ONLY))
    found = method.matches(session.model().eval(), by_reward(session), session, rows)
    answer = dict(zip(rows["prompt"], rows["answer"], strict=True))
    assert 0 < len(found) < len(rows["prompt"]), "pairs that earn the same are left out"
    assert all(match.winner.strip() == answer[match.prompt] for match in found)
    assert all(match.loser.strip() != answer[match.prompt] for match in found)


def test_online_dpo_samples_from_the_policy_as_it_is(tmp_path: Path) -> None:
    """A policy that changes says other things than the start, so its pairs change with it."""
    session = half_right(tmp_path, Budget("steps", 2))
    method = OnlineDPO(max_new_tokens=6)
    model = session.model().eval()
    rows = next(session.rows(Format.PROMPT_ONLY))
    rank: Callable[..., list[float]] = by_reward(session)

    def pairs() -> list[Any]:
        torch.manual_seed(1)
        return method.matches(model, rank, session, rows)

    before = pairs()
    assert pairs() == before
    with torch.no_grad():
        model.get_parameter("model.embed_tokens.weight").mul_(0.8)
    assert pairs() != before


def test_online_dpo_learns_from_no_pair_of_an_older_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five pairs are decided at a time, so two samplings fill a batch of eight, and two are left
    over.
    """
    session = tiny_session(tmp_path, Budget("steps", 3))
    updates = 0

    def matches(*_: Any) -> list[Match]:
        return [Match("a ?", f" after {updates}", " worse", "")] * 5

    monkeypatch.setattr(OnlineDPO, "matches", matches)
    model: Any = session.model()
    batches = OnlineDPO().batches(model, by_reward(session), session)
    for batch in itertools.islice(batches, 3):
        assert [match.winner for match in batch] == [f" after {updates}"] * 8
        updates += 1
    assert updates == 3


def test_online_dpo_ends_where_no_pair_is_decided(tmp_path: Path) -> None:
    """In steps nothing is spent by sampling, so it must see for itself that nothing comes."""
    session = tiny_session(tmp_path, Budget("steps", 2), batch_size=2)
    session.task = worthless(session.task)
    OnlineDPO(max_new_tokens=1).train(session)
    assert session.ledger.steps == 0


@pytest.mark.slow
def test_online_dpo_earns_more_by_the_reward_and_by_a_learned_model(tmp_path: Path) -> None:
    for rank_by in ("reward", "model"):
        method = OnlineDPO(lr=1e-4, ranker_lr=1e-3, rank_by=rank_by, max_new_tokens=6)
        session = half_right(tmp_path / rank_by, Budget("tokens", 60_000), batch_size=16)
        assert method.needs()[0] in session.task.formats
        model = method.train(session)
        session.close()
        spent = tokens(session)
        assert ("reward" in spent) == (rank_by == "model")
        assert 60_000 <= sum(spent.values()) < 1.1 * 60_000
        before, after = objectives(method, session, model)
        assert after["reward"] > before["reward"]
