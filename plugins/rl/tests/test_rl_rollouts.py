"""What reinforcement learning samples and what it earns: masks, padding, temperature, cost, and a
reward that is learned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bench_rl.rewards import of_task, reward_model, scored
from bench_rl.rollout import Rollout, log_probs, sample, token_values
from torch.nn.functional import logsigmoid
from transformers import set_seed

from bench import Format
from bench.accounting.budget import Budget
from bench.testing import tiny_session

from .sampled import KNOWN, prompts_of, rollout_of

# ── rollouts ──


def test_a_completion_is_masked_up_to_and_including_its_end(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    rollout = rollout_of(session, session.model().eval(), temperature=2.0)
    assert rollout.mask.shape[0] == 8
    for (prompt, completion), row, mask in zip(
        rollout.tokens(), rollout.completion_ids, rollout.mask, strict=True
    ):
        length = int(mask.sum())
        assert mask.tolist() == [1.0] * length + [0.0] * (len(mask) - length)
        assert list(completion) == row[:length].tolist()
        assert session.tokenizer.eos_token_id not in completion[:-1]
        assert length == len(mask) or completion[-1] == session.tokenizer.eos_token_id
        assert session.tokenizer.pad_token_id not in prompt
    assert len({int(m.sum()) for m in rollout.mask}) > 1, (
        "completions of several lengths were looked at"
    )
    assert [list(p) for p, _ in rollout.tokens()][:2] == [
        session.tokenizer(prompts_of(session)["prompt"][0])["input_ids"]
    ] * 2


def test_what_a_model_declares_ends_a_completion_too(tmp_path: Path) -> None:
    """As models for chats do, which end a turn with a token of its own."""
    session = tiny_session(tmp_path, task=KNOWN)
    model = session.model().eval()
    own: Any = session.tokenizer.eos_token_id
    assert session.end_ids(model) == [own]

    def drawn() -> Rollout:
        return rollout_of(session, model, num_samples=1, temperature=0.01)

    first = int(drawn().completion_ids[0, 0])
    model.generation_config.eos_token_id = [first]
    ends = session.end_ids(model)
    assert ends == [own, first]
    rollout = drawn()
    assert next(rollout.tokens())[1] == (first,)
    assert rollout.mask.shape[1] > 1, "others go on"
    assert rollout.ended(ends).all()
    for _, completion in rollout.tokens():
        assert completion[-1] in ends
        assert not {*completion[:-1]} & {*ends}
    assert not rollout.ended([own])[0]


def test_padding_does_not_change_what_models_say(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    model, critic = session.model().eval(), session.scorer("critic").eval()
    rollout = rollout_of(session, model, temperature=2.0)
    with torch.no_grad():
        together = (
            log_probs(model, rollout, 1.0),
            token_values(critic, rollout),
            scored(session, critic, rollout, {"prompt": []}),
        )
        for number, (prompt, completion) in enumerate(rollout.tokens()):
            ids = torch.tensor([prompt + completion])
            alone = Rollout(ids, torch.ones_like(ids), torch.ones(1, len(completion)))
            for batched, single in zip(
                together[:2],
                (log_probs(model, alone, 1.0), token_values(critic, alone)),
                strict=True,
            ):
                assert torch.allclose(batched[number, : len(completion)], single[0], atol=1e-4)
                assert not batched[number, len(completion) :].any()
            assert torch.allclose(together[2][number], critic(input_ids=ids).logits[0], atol=1e-4)


def test_a_value_is_that_of_the_state_before_its_token(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    critic = session.scorer("critic").eval()
    rollout = rollout_of(session, session.model().eval())
    with torch.no_grad():
        values = token_values(critic, rollout)
        for number, (prompt, completion) in enumerate(rollout.tokens()):
            for step in range(len(completion)):
                state = critic(input_ids=torch.tensor([prompt + completion[:step]])).logits
                assert float(values[number, step]) == pytest.approx(float(state), abs=1e-4)


def test_samples_come_from_the_whole_distribution_at_the_temperature(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model = session.model().eval()
    model.generation_config.top_k, model.generation_config.repetition_penalty = 1, 2.0
    set_seed(0)
    prompt = prompts_of(session)["prompt"][:1]
    drawn = sample(
        session, model, prompt, num_samples=500, temperature=1.5, max_completion_length=1
    )
    ids = drawn.completion_ids[:, 0]
    with torch.no_grad():
        first = log_probs(model, drawn, 1.5)[:, 0].exp()
    for token in ids.unique():
        expected = float(first[ids == token][0])
        assert (
            abs(float((ids == token).float().mean()) - expected)
            < 5 * (expected * (1 - expected) / 500) ** 0.5 + 1e-3
        )


def test_a_long_prompt_loses_its_start_and_leaves_room(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, max_length=12)
    prompt = "copy " + " ".join("abcdefgh" * 4) + " ?"
    rollout = sample(
        session,
        session.model().eval(),
        [prompt, "copy a ?"],
        num_samples=1,
        temperature=1.0,
        max_completion_length=4,
    )
    assert rollout.input_ids.shape[1] <= 12
    whole = session.tokenizer([prompt])["input_ids"][0]
    assert list(next(rollout.tokens())[0]) == whole[-8:]


def test_what_is_sampled_is_charged_as_rollout(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    model = session.model().eval()
    rollout = rollout_of(session, model)
    prompts = int(rollout.attention_mask.sum() - rollout.mask.sum())
    steps = rollout.mask.shape[1] - 1  # the last token is never read
    assert {name: float(spend.tokens) for name, spend in session.ledger.purposes.items()} == {
        "rollout": prompts + 8 * steps
    }


# ── rewards ──


def test_a_task_that_says_nothing_rewards_equality_but_for_space_around(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    rows = prompts_of(session, 16)
    rollout = sample(
        session,
        session.model().eval(),
        rows["prompt"],
        num_samples=1,
        temperature=1.0,
        max_completion_length=6,
    )
    right = [
        text.strip() == answer
        for text, answer in zip(rollout.texts(session.tokenizer), rows["answer"], strict=True)
    ]
    assert of_task(session, rollout, rows).tolist() == right
    assert sum(right) > 8, "the base knows most of these"


@pytest.mark.slow
def test_the_reward_that_is_learned_is_the_one_that_is_used(tmp_path: Path) -> None:
    """Bradley-Terry by TRL, on two rewards set to 1.2 and 0.5, has its golden loss, and `scored`
    reads the same two.
    """
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    session = tiny_session(tmp_path, batch_size=1)
    model: Any = session.scorer("reward").eval()
    trainer = RewardTrainer(
        model,
        train_dataset=session.dataset(Format.PREFERENCE),
        **session.trainer_kwargs(RewardConfig, max_length=session.max_length),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    row = session.dataset(Format.PREFERENCE)[0]
    pair = session.encode([row["prompt"]] * 2, [row["chosen"], row["rejected"]])
    mask = (pair["labels"] >= 0).float()
    rollout = Rollout(pair["input_ids"], pair["attention_mask"], mask)
    with torch.no_grad():
        hidden = model.base_model(
            input_ids=pair["input_ids"], attention_mask=pair["attention_mask"]
        ).last_hidden_state
        ends = torch.stack(
            [
                states[int(length) - 1]
                for states, length in zip(hidden, pair["attention_mask"].sum(1), strict=True)
            ]
        )
        model.score.weight.copy_(torch.linalg.lstsq(ends, torch.tensor([[1.2], [0.5]])).solution.T)
        read = scored(session, model, rollout, {"prompt": [row["prompt"]] * 2})
        assert read.tolist() == pytest.approx([1.2, 0.5], abs=1e-3)
        loss: Any = trainer.compute_loss(model, batch)
        assert float(loss) == pytest.approx(0.4031860488854579, abs=1e-3)
    session.close()


@pytest.mark.slow
def test_a_reward_model_learns_preferences_with_its_share_and_is_frozen(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 80), task="tiny/last", batch_size=16)
    model = reward_model(session, 0.5, 1e-3)
    assert session.ledger.steps == 40
    assert not any(p.requires_grad for p in model.parameters())
    assert {name for name, spend in session.ledger.purposes.items() if float(spend.tokens)} == {
        "reward"
    }
    rows = session.task.load(Format.PREFERENCE, "validation")[:64]
    with torch.no_grad(), session.unmetered():
        margins = [
            model(
                **{
                    k: v
                    for k, v in session.encode(rows["prompt"], rows[side]).items()
                    if k != "labels"
                }
            ).logits[:, 0]
            for side in ("chosen", "rejected")
        ]
    assert float(-logsigmoid(margins[0] - margins[1]).mean()) < 0.6, "below the ln 2 of a coin"
