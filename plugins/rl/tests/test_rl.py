"""Methods of reinforcement learning through the public door: what each does before, while and after
it learns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_rl import CISPO, DAPO, GRPO, GSPO, PPO, RAFT, RLOO, DrGRPO, RejectionSampling
from bench_rl.group_relative import GroupRelative
from bench_rl.ppo import experience_of, reward_and_critic
from bench_rl.rewards import of_task, scored
from bench_rl.rollout import log_probs, sample
from datasets import Dataset

from bench import Format, Method, Session
from bench.accounting.budget import Budget
from bench.data.tasks import Task
from bench.testing import tiny_session

from .sampled import KNOWN, prompts_of, rollout_of

SHORT: dict[str, Any] = {"max_completion_length": 6}


@pytest.mark.parametrize(
    "method", [PPO(reward="model"), GRPO(reward="model"), RAFT(reward="model")]
)
def test_a_learned_reward_needs_preferences(method: Method, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    assert method.skip(session) is None
    alone = tiny_session(tmp_path / "alone")
    alone.task = _bandit("copy a ?", "a")
    assert "preference" in (method.skip(alone) or "")
    assert GRPO().skip(alone) is None
    assert PPO().skip(alone) is None


@pytest.mark.parametrize("kind", [GRPO, RLOO, DAPO, DrGRPO, GSPO, CISPO])
def test_a_batch_is_a_whole_number_of_groups(kind: type[GroupRelative], tmp_path: Path) -> None:
    assert kind(num_generations=4).skip(tiny_session(tmp_path)) is None
    assert "3" in (kind(num_generations=3).skip(tiny_session(tmp_path)) or "")


# ── PPO ──


def test_before_the_first_update_the_ratio_is_1_and_the_divergence_0(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    method = PPO(reward="check", kl_coef=10.0, gamma=1.0, lam=1.0, temperature=1.3, **SHORT)
    reward, critic = reward_and_critic(method, session)
    policy, rows = session.model().eval(), prompts_of(session, 8)
    experience = experience_of(method, session, policy, session.reference(), critic, reward, rows)
    new = log_probs(policy, experience.rollout, 1.3)
    assert torch.allclose(torch.exp(new - experience.log_probs), torch.ones_like(new), atol=1e-5)
    earned = of_task(session, experience.rollout, rows)
    assert torch.allclose(
        experience.returns, earned[:, None] * experience.rollout.mask, atol=1e-3
    ), "no penalty, however dear"


@pytest.mark.slow
def test_ppo_trains_four_models_within_its_budget(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 10), task=KNOWN)
    model = PPO(reward="model", reward_share=0.4, num_ppo_epochs=4, lr=1e-5, **SHORT).train(session)
    assert session.ledger.steps == 10
    assert set(session.ledger.purposes) == {"reward", "critic", "rollout", "reference", "train"}
    assert session.ledger.purposes["train"].samples == 6 * 8, (
        "a step is on a batch, and six of ten are left to the policy"
    )
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.slow
def test_the_critic_begins_as_the_reward_model(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 10), task=KNOWN)
    reward, critic = reward_and_critic(PPO(reward="model", reward_lr=1e-3), session)
    rollout = rollout_of(session, session.model().eval())
    rows = {"prompt": ["copy a ?"] * len(rollout.mask)}
    assert torch.equal(reward(rollout, rows), scored(session, critic, rollout, rows))
    assert all(p.requires_grad for p in critic.parameters())


# ── all of them ──


def test_at_the_start_nothing_has_moved(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    with session.unmetered(), torch.no_grad():
        look = session.validation(session.start)
        values = GRPO(**SHORT).objective(look, look.model().eval())
        look.close()
    assert values["kl"] == pytest.approx(0, abs=1e-5)
    assert 0.5 < values["reward"] <= 1


def _bandit(prompt: str, answer: str) -> Task:
    """One question with one answer, again and again."""
    rows = Dataset.from_list([{"prompt": prompt, "answer": answer}] * 64)
    return Task("bandit", {Format.PROMPT_ONLY: lambda split: rows}, None, "bandit")


def _probability(session: Session, model: Any, prompt: str, answer: str) -> float:
    with torch.no_grad(), session.unmetered():
        batch = session.encode([prompt], [f" {answer}"])
        return float(torch.exp(-model(**batch).loss * (batch["labels"] >= 0).sum()))


GENTLE = 3e-5
"""A learning rate at which all arms learned each of the seven questions tried. At 1e-4 and above
some put all mass on a wrong answer before they met the right one, and never sampled it again.
"""
ARMS: dict[str, Method] = {
    "ppo": PPO(reward="check", lr=GENTLE, kl_coef=0.01, num_ppo_epochs=2, **SHORT),
    "grpo": GRPO(lr=GENTLE, beta=0.01, num_iterations=2, **SHORT),
    "rloo": RLOO(lr=GENTLE, beta=0.01, **SHORT),
    "dr-grpo": DrGRPO(lr=GENTLE, **SHORT),
    "dapo": DAPO(lr=GENTLE, **SHORT),
    "gspo": GSPO(lr=GENTLE, epsilon=0.1, epsilon_high=0.1, **SHORT),
    "cispo": CISPO(lr=GENTLE, **SHORT),
    "rejection-sampling": RejectionSampling(
        lr=1e-4, num_samples=4, max_prompts=16, temperature=1.0, original_rows=False, **SHORT
    ),
    "raft": RAFT(lr=1e-4, num_samples=4, num_mini_batches=1, **SHORT),
}


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A question on which the base wavers, and an answer that it gives about every fourth time."""
    session = tiny_session(tmp_path_factory.mktemp("question"))
    model = session.model().eval()
    rows = session.dataset(Format.PROMPT_ONLY).select(range(16))
    found = {}
    for prompt in rows["prompt"]:
        rollout = sample(
            session, model, [prompt], num_samples=32, temperature=1.0, max_completion_length=6
        )
        for text in set(rollout.texts(session.tokenizer)):
            found[prompt, text.strip()] = _probability(session, model, prompt, text.strip())
    session.close()
    yield min(found, key=lambda key: abs(found[key] - 0.25))


@pytest.mark.slow
@pytest.mark.parametrize("name", ARMS)
def test_a_bandit_is_learned(name: str, question: tuple[str, str], tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 32), task=KNOWN)
    session.task = _bandit(*question)
    before = _probability(session, session.model(), *question)
    model = ARMS[name].train(session)
    assert 0.05 < before < 0.5
    assert _probability(session, model.eval(), *question) > before + 0.3
    assert session.ledger.steps == 32
    session.close()
