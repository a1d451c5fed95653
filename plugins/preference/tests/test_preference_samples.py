"""Methods that learn from samples: who wins among them, what each phase may spend, and what is
charged to what.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_preference import RRHF, RSO, SLiCHF
from bench_preference.candidates import (
    endless,
    first_round,
    sample,
    scored_samples,
    statistical_rejection,
    tournament,
)
from bench_preference.match import Match
from bench_preference.ranker import by_model, trained_ranker
from bench_preference.sampled import Sampling
from hypothesis import given
from hypothesis import strategies as st

from bench.accounting.budget import Budget
from bench.data.formats import Format
from bench.methods.method import Method
from bench.methods.session import Session, ValidationSession
from bench.models.start import load_start
from bench.system.errors import Skipped
from bench.testing import tiny_session

from .half_right import objectives, tokens, worthless

SAMPLING = SLiCHF(lr=3e-4, ranker_lr=3e-4, num_candidates=4, max_new_tokens=4)
"""The task that the half-trained model of the conformance kit has learned something of."""

players = st.dictionaries(st.text(min_size=1, max_size=3), st.floats(-5, 5), min_size=1, max_size=9)


# ── who wins ──


@given(players)
def test_a_tournament_has_one_match_fewer_than_players_and_the_best_wins_it(
    players: dict[str, float],
) -> None:
    matches = tournament(players)
    assert len(matches) == len(players) - 1
    assert all(players[winner] >= players[loser] for winner, loser in matches)
    assert len({loser for _, loser in matches}) == len(matches), "who has lost is out"
    if matches:
        assert players[matches[-1][0]] == max(players.values())


@given(players)
def test_in_a_first_round_everybody_plays_once(players: dict[str, float]) -> None:
    matches = first_round(list(players), players)
    assert len(matches) == len(players) // 2
    assert all(players[winner] >= players[loser] for winner, loser in matches)
    assert len({name for match in matches for name in match}) == 2 * len(matches)


@given(players, st.integers(1, 9), st.floats(0.05, 5), st.integers(0, 1000))
def test_rejection_gives_as_many_different_candidates_as_it_should(
    players: dict[str, float], count: int, beta: float, seed: int
) -> None:
    accepted = statistical_rejection(players, count, beta, random.Random(seed).random)
    assert len(accepted) == len(set(accepted)) == min(count, len(players))
    assert set(accepted) <= players.keys()


def test_rejection_takes_the_best_for_a_small_beta_and_all_for_a_large_one() -> None:
    scores = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.7}
    for seed in range(20):
        draw = random.Random(seed).random
        assert statistical_rejection(scores, 2, 1e-4, draw) == ["b", "d"]
        assert statistical_rejection(scores, 3, 1e9, draw) == ["a", "b", "c"]


def test_rejection_accepts_with_the_probabilities_of_its_paper() -> None:
    """The first of two is kept for itself with e^((0 - 1) / .5) = .1353, the second always."""
    draw, tries = random.Random(0).random, 20_000
    firsts = sum(
        statistical_rejection({"worse": 0.0, "best": 1.0}, 1, 0.5, draw) == ["worse"]
        for _ in range(tries)
    )
    assert firsts / tries == pytest.approx(math.exp(-2), abs=0.01)


def test_rejection_walks_through_its_candidates_as_the_algorithm_is_printed() -> None:
    """With β = 1: a passes .9 ≥ e^-2, b is the best; in the second round c is the best, and a is
    measured by it: .3 < e^-1 = .3679.
    """
    numbers = iter([0.9, 0.5, 0.99, 0.3])
    drawn = statistical_rejection({"a": 0.0, "b": 2.0, "c": 1.0}, 2, 1.0, lambda: next(numbers))
    assert drawn == ["b", "a"]
    assert next(numbers, None) is None


def test_batches_of_what_was_found_take_all_before_any_comes_again() -> None:
    drawn = list(itertools.chain(*itertools.islice(endless(range(6), 4), 3)))
    assert sorted(drawn[:6]) == sorted(drawn[6:]) == list(range(6))


# ── samples ──


def test_samples_are_completions_that_follow_their_prompts(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model = session.model("rollout").eval()
    rows = session.dataset(Format.PROMPT_COMPLETION)[:4]
    drawn = sample(
        model,
        session,
        ["largest of 12 95 31 ?", "largest of 7 3 5 ?"],
        {"temperature": 0.1, "max_new_tokens": 4},
    )
    assert drawn[0] == " 95", "as a completion of the training data is written"
    assert len(drawn) == 2
    again = sample(
        model, session, rows["prompt"], {"temperature": 1.0, "top_k": 1, "max_new_tokens": 6}
    )
    assert again == sample(
        model, session, rows["prompt"], {"temperature": 1.0, "top_k": 1, "max_new_tokens": 6}
    )
    assert session.ledger.by_purpose()["rollout"]["tokens"] > 0


def test_samples_of_any_model_are_charged_as_rollout(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    sample(session.model(), session, ["largest of 1 2 3 ?"] * 20, {"max_new_tokens": 4})
    assert set(tokens(session)) == {"rollout"}


def test_each_different_sample_is_scored_once(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    seen: list[tuple[str, str]] = []

    def rank(rows: dict[str, list[Any]], completions: list[str]) -> list[float]:
        seen.extend(zip(rows["prompt"], completions, strict=True))
        assert rows["answer"] == [{"a ?": "1", "b ?": "2"}[p] for p in rows["prompt"]]
        return [float(len(completion)) for completion in completions]

    rows = {"prompt": ["a ?", "b ?"], "answer": ["1", "2"]}
    model = session.model().eval()
    drawn = scored_samples(model, rank, session, rows, 30, {"max_new_tokens": 2, "top_k": 3})
    assert len(seen) == len(set(seen)) < 60
    assert [one.prompt for one in drawn] == ["a ?", "b ?"]
    for one in drawn:
        assert {completion for prompt, completion in seen if prompt == one.prompt} == set(
            one.scores
        )
        assert all(score == len(completion) for completion, score in one.scores.items())


@pytest.mark.slow
def test_the_ranker_learns_what_is_preferred_on_its_share_of_the_budget(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("tokens", 20_000), batch_size=16)
    ranker = trained_ranker(session, 0.5, 1e-3)
    assert 10_000 <= session.ledger.by_purpose()["reward"]["tokens"] < 11_000
    assert not any(p.requires_grad for p in ranker.parameters())
    rows = session.task.load(Format.PREFERENCE, "validation")[:128]
    rank = by_model(ranker, session)
    right, wrong = rank(rows, rows["chosen"]), rank(rows, rows["rejected"])
    assert sum(a > b for a, b in zip(right, wrong, strict=True)) / 128 > 0.6


# ── phases ──


def test_shares_leave_something_for_the_policy() -> None:
    with pytest.raises(ValueError, match="the policy needs a share, too"):
        SLiCHF(ranker_share=0.5, sampling_share=0.5)
    assert SLiCHF(ranker_share=0.9, sampling_share=0.5, rank_by="reward").sampling_ends == 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [SAMPLING, RSO(lr=3e-4, ranker_lr=3e-4, num_candidates=16, max_new_tokens=4)],
    ids=lambda m: type(m).__name__,
)
def test_each_phase_keeps_to_its_share_and_the_policy_has_the_most(
    method: SLiCHF | RSO, tmp_path: Path
) -> None:
    session = tiny_session(tmp_path, Budget("tokens", 20_000), batch_size=16)
    model = method.train(session)
    session.close()
    spent = tokens(session)
    trained = spent["train"] + spent.get("reference", 0)
    assert set(spent) == {"reward", "rollout", "train"} | (
        {"reference"} if method.has_reference else set()
    )
    assert trained >= 0.45 * 20_000
    assert trained == max(trained, spent["reward"], spent["rollout"])
    assert spent["rollout"] <= (method.sampling_share + 0.05) * 20_000
    assert 20_000 <= sum(spent.values()) < 22_000
    assert session.ledger.steps == len(session.log.losses)
    assert all(math.isfinite(loss) for loss in session.log.losses)
    for values in objectives(method, session, model):
        assert {"reward_margin", "reward_accuracy"} <= set(values)


@pytest.mark.slow
@pytest.mark.parametrize("method", [SLiCHF, RSO])
def test_samples_for_the_objective_are_drawn_once(
    method: type[SLiCHF] | type[RSO], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, draw = [], Sampling.drawn

    def counted(self: Sampling, session: ValidationSession) -> Iterator[list[Match]]:
        looks.append(session)
        return draw(self, session)

    monkeypatch.setattr(Sampling, "drawn", counted)
    few = method(num_candidates=4, max_new_tokens=4, max_prompts=8)
    session = tiny_session(tmp_path, Budget("tokens", 4_000), batch_size=8)
    few.train(session)
    session.close()
    start = load_start(session.start, torch.float32, torch.device("cpu"))
    before, after = objectives(few, session, start)
    assert len(looks) == 1
    assert before == after, "the model is the start"


def test_in_steps_the_policy_has_the_most_of_them(tmp_path: Path) -> None:
    """The ranker has a fifth; samples cost no step."""
    method = SLiCHF(num_candidates=4, max_new_tokens=4, max_prompts=8)
    session = tiny_session(tmp_path, Budget("steps", 10))
    method.train(session)
    session.close()
    of_the_ranker = session.log.losses[:2]
    assert all(loss == pytest.approx(math.log(2), abs=0.3) for loss in of_the_ranker)
    assert len(session.log.losses) == 10
    assert tokens(session)["train"] > 0


def _rates(session: Session) -> list[float]:
    """The learning rate at each step of a training, as its optimizer had it."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    found: list[float] = []
    session.log.__dict__["hook"] = register_optimizer_step_pre_hook(
        lambda optimizer, *_: found.append(optimizer.param_groups[0]["lr"])
    )
    return found


def test_the_policy_has_a_whole_schedule_of_its_own(tmp_path: Path) -> None:
    method = SLiCHF(lr=1e-4, ranker_lr=1e-3, num_candidates=4, max_new_tokens=4, max_prompts=8)
    session = tiny_session(tmp_path, Budget("steps", 40))
    rates = _rates(session)
    method.train(session)
    session.log.__dict__["hook"].remove()
    ranker, policy = rates[:8], rates[8:]
    assert max(ranker) > 5e-4, "the ranker's rate"
    assert policy[0] < 0.2 * 1e-4, "it begins low"
    assert max(policy) > 0.9 * 1e-4, "it reaches its peak"
    assert policy[-1] < 0.1 * 1e-4, "and ends near nothing"


def test_samples_that_are_all_alike_are_said_to_be(tmp_path: Path) -> None:
    """The embedded model does not know this task: no sample of it is ever right."""
    methods: list[tuple[Method, str]] = [
        (SLiCHF(rank_by="reward", max_prompts=8, max_new_tokens=1), "nothing to prefer"),
        (RRHF(candidates="sampled", max_prompts=8, max_new_tokens=1), "nothing to rank"),
    ]
    for number, (method, told) in enumerate(methods):
        session = tiny_session(tmp_path / str(number), Budget("steps", 4))
        session.task = worthless(session.task)
        with pytest.raises(Skipped, match=told):
            method.train(session)


@pytest.mark.slow
def test_a_ranker_that_leaves_nothing_for_samples_is_told(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("tokens", 300))
    with pytest.raises(Skipped, match="training the ranker spent the share for samples"):
        SLiCHF().train(session)
