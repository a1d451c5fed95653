"""Rejection sampling: supervised fine-tuning on the better ones of a model's own completions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench import Format, Skipped, token_losses

from .rewards import Reward, chosen
from .rollout import Rows, Sample, gathered, repeated, sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session

    from . import RAFT, RejectionSampling

CLOSE = 1e-6  # weights add up in float32


def rejection_sampling(method: RejectionSampling, session: Session) -> PreTrainedModel:
    """The start, trained on the samples it accepted; `Skipped` where that is nothing."""
    reward = chosen(method.reward, session, method.reward_share, method.reward_lr)
    kept = list(dict.fromkeys(accepted(method, session, reward)))
    if not kept:
        raise Skipped("none of the completions that were sampled is right")
    model = session.model()
    optimizer = session.optimizer(model, method.lr)
    batches = endless(kept, session.batch_size)
    for _ in session.rows(Format.PROMPT_ONLY):  # they end with the budget, and are not looked at
        batch = collate(next(batches), session)
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    return model


def raft(method: RAFT, session: Session) -> PreTrainedModel:
    """The policy after the budget is spent."""
    reward = chosen(method.reward, session, method.reward_share, method.reward_lr)
    model = session.model()
    optimizer = session.optimizer(model, method.lr)
    for rows in gathered(session, method.num_mini_batches):
        winners = best(*_sampled(method, session, model, reward, rows), method.num_samples)
        steps = method.num_train_epochs * method.num_mini_batches
        for samples in islice(endless(winners, session.batch_size), steps):
            batch = collate(samples, session)
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
            if session.progress >= 1:
                return model
    return model


def accepted(method: RejectionSampling, session: Session, reward: Reward) -> Iterator[Sample]:
    """What the start says that is right, which is what earns the most that can be earned; where a
    model or a function judges, which know no most, the best of what it says on each prompt. With
    repetitions.
    """
    highest = None if method.reward == "model" else session.task.reward.highest
    model = session.model()
    spent = session.progress  # with a reward model
    with session.stage("sample", until=spent + method.sampling_share * (1 - spent)) as stage:
        for rows in islice(
            stage.rows(Format.PROMPT_ONLY), -(-method.max_prompts // session.batch_size)
        ):
            samples, rewards = _sampled(method, session, model, reward, rows)
            if highest is None:
                yield from best(samples, rewards, method.num_samples)
            else:
                earned = zip(samples, rewards.tolist(), strict=True)
                yield from (one for one, value in earned if value >= highest - CLOSE)


def _sampled(
    method: RAFT | RejectionSampling,
    session: Session,
    model: PreTrainedModel,
    reward: Reward,
    rows: Rows,
) -> tuple[list[Sample], Tensor]:
    """`num_samples` completions of each prompt, those of one prompt in a row, and their rewards."""
    rollout = sample(
        session,
        model.eval(),
        rows["prompt"],
        num_samples=method.num_samples,
        temperature=method.temperature,
        max_completion_length=method.max_completion_length,
    )
    model.train()
    return list(rollout.tokens()), reward(rollout, repeated(rows, method.num_samples))


def best(samples: Sequence[Sample], rewards: Tensor, num_samples: int) -> list[Sample]:
    """Of each prompt's samples the one that earns most, the first of equals."""
    winners = rewards.view(-1, num_samples).argmax(1).tolist()
    return [samples[number * num_samples + winner] for number, winner in enumerate(winners)]


def endless(samples: Sequence[Sample], size: int) -> Iterator[list[Sample]]:
    """Batches without end, all samples once before one comes again, in a new order each time."""

    def numbers() -> Iterator[int]:
        while True:
            yield from torch.randperm(len(samples)).tolist()

    order = numbers()
    while True:
        yield [samples[number] for number in islice(order, size)]


def collate(samples: Sequence[Sample], session: Session) -> dict[str, Tensor]:
    """Right-padded input_ids, attention_mask and labels, (samples, longest); labels cover what was
    sampled, as it was sampled.
    """
    whole = [torch.tensor(prompt + completion) for prompt, completion in samples]
    labels = [torch.tensor((-100,) * len(prompt) + completion) for prompt, completion in samples]
    pad = session.tokenizer.pad_token_id
    assert isinstance(pad, int)
    batch = {
        "input_ids": pad_sequence(whole, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence([torch.ones_like(ids) for ids in whole], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
    }
    return {name: tensor.to(session.device) for name, tensor in batch.items()}
