"""Rejection sampling: supervised fine-tuning on the better ones of a model's own completions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench import Conversation, Format, Skipped, token_losses

from .rewards import Reward, chosen
from .rollout import Rows, Sample, gathered, repeated, sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session

    from . import RAFT, RejectionSampling

CLOSE = 1e-6  # weights add up in float32
UNLABELLED = -100
Row = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of a prompt and a completion, and labels, which cover what is learned."""
Content = str | Conversation
Originals = dict[str, list[tuple[Content, Content]]]
"""Prompts and completions, by what the prompt says."""


def rejection_sampling(method: RejectionSampling, session: Session) -> PreTrainedModel:
    """The start, trained on the original rows of the prompts that it was asked and on the samples
    that it accepted, each once; `Skipped` where that is nothing.
    """
    reward = chosen(method.reward, session, method.reward_share, method.reward_lr)
    originals = _originals(session) if method.original_rows else {}
    kept = list(dict.fromkeys(augmented(method, session, reward, originals)))
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
        batches = endless(list(map(labelled, winners)), session.batch_size)
        for some in islice(batches, steps):
            batch = collate(some, session)
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
            if session.progress >= 1:
                return model
    return model


def augmented(
    method: RejectionSampling,
    session: Session,
    reward: Reward,
    originals: Mapping[str, Sequence[tuple[Content, Content]]],
) -> Iterator[Row]:
    """The original rows of each prompt that is sampled, and what the start says that is right: what
    earns the most that can be earned; where a model or a function judges, which know no most, the
    best of what it says on each prompt. With repetitions.

    The authors' collect_rejection_sampling.py writes the original row of each question before its
    samples.
    """
    highest = None if method.reward == "model" else session.task.reward.highest
    model = session.model()
    spent = session.progress  # with a reward model
    with session.stage("sample", until=spent + method.sampling_share * (1 - spent)) as stage:
        for rows in islice(
            stage.rows(Format.PROMPT_ONLY), -(-method.max_prompts // session.batch_size)
        ):
            asked = (originals.get(str(prompt), ()) for prompt in rows["prompt"])
            yield from _encoded(session, [pair for pairs in asked for pair in pairs])
            samples, rewards = _sampled(method, session, model, reward, rows)
            if highest is None:
                right = best(samples, rewards, method.num_samples)
            else:
                earned = zip(samples, rewards.tolist(), strict=True)
                right = [one for one, value in earned if value >= highest - CLOSE]
            yield from map(labelled, right)


def _originals(session: Session) -> Originals:
    """The target's rows of prompts and completions. `Skipped` where none of them has a prompt that
    can be sampled.
    """
    found: Originals = defaultdict(list)
    for rows in _every(session, Format.PROMPT_COMPLETION):
        for prompt, completion in zip(rows["prompt"], rows["completion"], strict=True):
            found[str(prompt)].append((prompt, completion))
    asked = (str(p) for rows in _every(session, Format.PROMPT_ONLY) for p in rows["prompt"])
    if not any(prompt in found for prompt in asked):
        raise Skipped(
            f"no {Format.PROMPT_ONLY} row of {session.task.name} has a prompt of its"
            f" {Format.PROMPT_COMPLETION} rows; original_rows: false trains on samples alone"
        )
    return found


def _encoded(session: Session, pairs: Sequence[tuple[Content, Content]]) -> Iterator[Row]:
    """Prompts and completions as rows."""
    if not pairs:
        return
    batch = session.encode(*zip(*pairs, strict=True))
    for ids, labels, mask in zip(
        batch["input_ids"], batch["labels"], batch["attention_mask"].bool(), strict=True
    ):
        yield tuple(ids[mask].tolist()), tuple(labels[mask].tolist())


def _every(session: Session, format: Format) -> Iterator[Rows]:
    """All training rows of a format, a batch at a time."""
    batches = -(-len(session.dataset(format)) // session.batch_size)
    return islice(session.rows(format), batches)


def labelled(sample: Sample) -> Row:
    """A sample as a row whose labels cover what was sampled, as it was sampled."""
    prompt, completion = sample
    return prompt + completion, (UNLABELLED,) * len(prompt) + completion


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


def endless(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """Batches without end, all rows once before one comes again, in a new order each time."""

    def numbers() -> Iterator[int]:
        while True:
            yield from torch.randperm(len(rows)).tolist()

    order = numbers()
    while True:
        yield [rows[number] for number in islice(order, size)]


def collate(rows: Sequence[Row], session: Session) -> dict[str, Tensor]:
    """Right-padded input_ids, attention_mask and labels, (rows, longest)."""
    ids, labels = (
        [torch.tensor(column) for column in columns] for columns in zip(*rows, strict=True)
    )
    pad = session.tokenizer.pad_token_id
    assert isinstance(pad, int)
    batch = {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=UNLABELLED),
    }
    return {name: tensor.to(session.device) for name, tensor in batch.items()}
