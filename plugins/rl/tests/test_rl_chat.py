"""A learned reward of conversations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_rl import PPO
from bench_rl.ppo import reward_and_critic
from bench_rl.rewards import chosen
from bench_rl.rollout import Rollout

from bench import Conversation, Format, Session
from bench.data.chat import ChatSpec
from bench.testing import tiny_session

from .sampled import KNOWN

LINES = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content']"
    " + eos_token + ' .' }}{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
)
"""As templates of ChatML, which end a turn's line behind its end: more follows the last token that
is sampled.
"""


def _talking(folder: Path) -> Session:
    """A session of conversations whose padding is the end of a turn, as SmolLM2's is."""
    session = tiny_session(folder, task=KNOWN)
    few = session.task.load(Format.PREFERENCE, "train").select(range(16))
    session.task = replace(
        session.task,
        chat=ChatSpec(),
        loaders={**session.task.loaders, Format.PREFERENCE: lambda _: few},
    )
    session.tokenizer.chat_template = LINES
    session.tokenizer.pad_token = session.tokenizer.eos_token
    return session


def _trained_position(model: Any, session: Session) -> list[float]:
    """Scores of the chosen completions of the first batch that TRL trains a reward model on."""
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    trainer = RewardTrainer(
        model,
        train_dataset=session.dataset(Format.PREFERENCE),
        **session.trainer_kwargs(RewardConfig, max_length=session.max_length),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        logits = model.eval()(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return logits[: session.batch_size, 0].tolist()


def _as_sampled(session: Session, prompts: list[Any], said: list[Conversation]) -> Rollout:
    """What a policy samples that gives these replies: each ends with the end of a turn."""
    tokenizer: Any = session.tokenizer
    asked = session.prompt_ids(prompts)
    texts = [" " + reply.turns[0]["content"] for reply in said]
    ended = [
        [*ids, tokenizer.eos_token_id]
        for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]
    ]
    width, longest = max(map(len, asked)), max(map(len, ended))
    ids = torch.full((len(asked), width + longest), tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for number, (prompt, completion) in enumerate(zip(asked, ended, strict=True)):
        first, last = width - len(prompt), width + len(completion)
        ids[number, first:last] = torch.tensor(prompt + completion)
        mask[number, first:last] = 1
    return Rollout(ids, mask, mask[:, width:].float())


def test_a_conversation_earns_what_its_reward_model_was_trained_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _talking(tmp_path)
    model: Any = session.scorer("reward")
    expected = _trained_position(model, session)
    for name in ("bench_rl.rewards.reward_model", "bench_rl.ppo.reward_model"):
        monkeypatch.setattr(name, lambda *_: model)
    rewards = {
        "ppo": reward_and_critic(PPO(reward="model"), session)[0],
        "grpo": chosen("model", session, 0.2, 1e-5),
    }
    rows = next(session.rows(Format.PREFERENCE))
    rollout = _as_sampled(session, rows["prompt"], rows["chosen"])
    for name, reward in rewards.items():
        assert reward(rollout, rows).tolist() == pytest.approx(expected, abs=1e-4), name
    session.close()
