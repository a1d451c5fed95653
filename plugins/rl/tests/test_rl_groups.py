"""The loop of group relative methods: which completions are drawn, kept, masked and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_rl import CISPO, DAPO, GRPO, GSPO, PPO, RLOO, DrGRPO
from bench_rl.groups import MOST_DRAWS, Completions, informative
from bench_rl.rollout import Rollout, joined, log_probs
from torch import Tensor

from bench import Method, run
from bench.accounting.budget import Budget
from bench.testing import tiny_session

from .sampled import KNOWN, rollout_of

SHORT: dict[str, Any] = {"max_completion_length": 6}
WITHOUT_WEIGHT: dict[str, Method] = {
    "ppo": PPO(kl_coef=0, **SHORT),
    "grpo": GRPO(beta=0, **SHORT),
    "rloo": RLOO(beta=0, **SHORT),
    "dr-grpo": DrGRPO(**SHORT),
    "dapo": DAPO(**SHORT),
    "gspo": GSPO(**SHORT),
    "cispo": CISPO(**SHORT),
}
WITH_WEIGHT: dict[str, Method] = {
    "ppo": PPO(**SHORT),
    "grpo": GRPO(**SHORT),
    "rloo": RLOO(**SHORT),
    "dapo": DAPO(beta=0.01, **SHORT),
}


def _spent(method: Method, folder: Path) -> tuple[set[str], int]:
    """Purposes that were charged, and how often the start was loaded as a reference."""
    session = tiny_session(folder, Budget("steps", 3), task=KNOWN)
    loaded = 0
    reference = session.reference

    def counted() -> Any:
        nonlocal loaded
        loaded += 1
        return reference()

    session.reference = counted  # pyright: ignore[reportAttributeAccessIssue]
    method.train(session)
    session.close()
    return set(session.ledger.by_purpose()), loaded


@pytest.mark.parametrize("name", WITHOUT_WEIGHT)
def test_a_reference_without_weight_is_neither_loaded_nor_charged(
    name: str, tmp_path: Path
) -> None:
    purposes, loaded = _spent(WITHOUT_WEIGHT[name], tmp_path)
    assert purposes == {"rollout", "train"} | ({"critic"} if name == "ppo" else set())
    assert not loaded


@pytest.mark.parametrize("name", WITH_WEIGHT)
def test_a_reference_with_weight_is_charged(name: str, tmp_path: Path) -> None:
    purposes, loaded = _spent(WITH_WEIGHT[name], tmp_path)
    assert "reference" in purposes
    assert loaded == 1


@pytest.mark.slow
def test_the_record_of_a_run_without_penalty_holds_no_reference(tmp_path: Path) -> None:
    free: dict[str, dict[str, Any]] = {
        "grpo": {"beta": 0},
        "rloo": {"beta": 0},
        "ppo": {"kl_coef": 0},
    }
    suite = {
        "suite": "free",
        "model": "tiny",
        "target": KNOWN,
        "budget": {"steps": 2},
        "batch": {"size": 8, "max_length": 32},
        "seeds": 1,
        "methods": [
            *({name: {**SHORT, **given}, "as": f"free-{name}"} for name, given in free.items()),
            {"grpo": SHORT},
        ],
    }
    run(suite, tmp_path / "results", jobs=1)
    records = [json.loads(f.read_text()) for f in (tmp_path / "results").rglob("records/*.json")]
    charged = {r["recipe"]: r["train"]["ledger"]["by_purpose"] for r in records if r["train"]}
    assert set(charged) == {"free-grpo", "free-rloo", "free-ppo", "grpo"}
    assert [name for name, spent in charged.items() if "reference" in spent] == ["grpo"]


# ── dynamic sampling ──


def _drawn(*rewards: list[float]) -> Iterator[Completions]:
    """Batches of two groups of two completions with these rewards; tokens count batches."""
    for number, some in enumerate(rewards, 1):
        ids = torch.full((4, 2 + number), number)
        mask = torch.ones(4, number)
        earned = torch.tensor(some)
        yield Completions(
            Rollout(ids, torch.ones_like(ids), mask), mask, earned, earned, mask * torch.nan
        )


def test_groups_that_earn_the_same_are_sampled_anew() -> None:
    same, one, both = [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.5, 1.0]
    found = list(informative(_drawn(same, one, both, same, both), 2))
    assert [batch.rewards.tolist() for batch in found] == [[0.0, 1.0, 1.0, 0.0], both]
    first = found[0].rollout
    assert first.completion_ids[:, -1].tolist() == [0, 0, 3, 3], "two tokens beside three"
    assert found[0].mask.sum(1).tolist() == [2.0, 2.0, 3.0, 3.0]


def test_where_nothing_differs_the_last_draw_is_taken() -> None:
    same, one = [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0]
    draws = [one, *[same] * (MOST_DRAWS - 1)]
    assert [batch.rewards.tolist() for batch in informative(_drawn(*draws), 2)] == [
        [0.0, 1.0, 1.0, 1.0]
    ]


def test_dapo_draws_more_than_it_learns_from(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 4), task=KNOWN)
    DAPO(num_generations=2, **SHORT).train(session)
    session.close()
    spent = session.ledger.purposes
    assert spent["train"].samples == 4 * 8
    assert float(spent["rollout"].tokens) > 2 * float(spent["train"].tokens), (
        "the base is right nearly always, so most groups earn the same"
    )


def test_sampling_that_never_differs_ends(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 2), task="tiny/swap")  # unknown to the base
    DAPO(num_mini_batches=1, temperature=0.01, **SHORT).train(session)
    session.close()
    assert session.ledger.steps == 2


# ── length ──


def test_the_reward_of_long_completions_falls_as_in_the_paper() -> None:
    """Eq. 13 with 100 tokens, of which the last 20 are punished."""
    lengths = torch.tensor([1.0, 80.0, 85.0, 90.0, 100.0])
    earned = DAPO(soft_punish_cache=0.2).shaped(torch.ones(5), lengths, 100)
    assert earned.tolist() == pytest.approx([1, 1, 0.75, 0.5, 0])
    assert DAPO(soft_punish_cache=0.0).shaped(torch.ones(5), lengths, 100).tolist() == [1] * 5


@pytest.mark.parametrize("kind", [GRPO, RLOO, DAPO, DrGRPO, GSPO])
def test_what_was_cut_off_teaches_nothing(kind: Any, tmp_path: Path) -> None:
    """Every answer has more than one token, so all completions of one token are cut off."""
    session = tiny_session(tmp_path, Budget("steps", 2), task="tiny/swap")
    start = session.model()
    given = {"max_completion_length": 1, "beta": 0.0, "lr": 1e-2, "temperature": 3.0}
    model = kind(mask_truncated_completions=True, **given).train(session)
    session.close()
    assert session.ledger.steps == 2
    for before, after in zip(start.parameters(), model.parameters(), strict=True):
        assert torch.equal(before, after)


# ── several updates ──


class _Watched(GSPO):
    """Writes down the ratios that its losses see."""

    def token_losses(self, part: Completions, log_probs: Tensor) -> Tensor:
        SEEN.append(float((log_probs.detach() - part.old).abs().max()))
        return super().token_losses(part, log_probs)


SEEN: list[float] = []


def test_only_the_first_of_several_batches_is_the_policys_own(tmp_path: Path) -> None:
    SEEN.clear()
    session = tiny_session(tmp_path, Budget("steps", 8), task=KNOWN)
    _Watched(lr=1e-3, num_mini_batches=4, temperature=1.5, **SHORT).train(session)
    session.close()
    assert len(SEEN) == 8
    assert SEEN[0] == SEEN[4] == 0, "right after sampling"
    assert min(SEEN[1:4] + SEEN[5:]) > 1e-4


def test_joined_rollouts_say_what_each_says_alone(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    model = session.model().eval()
    some = [rollout_of(session, model, temperature=2.0, length=length) for length in (2, 6)]
    assert some[0].mask.shape[1] < some[1].mask.shape[1]
    with torch.no_grad():
        together = log_probs(model, joined(some), 1.0)
        alone = [log_probs(model, one, 1.0) for one in some]
    assert torch.allclose(together[:8, : some[0].mask.shape[1]], alone[0], atol=1e-4)
    assert not together[:8, some[0].mask.shape[1] :].any()
    assert torch.allclose(together[8:], alone[1], atol=1e-4)
    assert joined(some).texts(session.tokenizer) == [
        text for one in some for text in one.texts(session.tokenizer)
    ]
