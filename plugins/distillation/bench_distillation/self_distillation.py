"""A student that learns, on its own completions, from itself with more to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from bench import Format, token_logits, token_losses, without_dropout

from .context import Content, shown, teachers_ids, text_of
from .losses import divergence, mean_of_each
from .sampling import Ids, collate, room_for, sample
from .teachers import follow, past_self

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

    from . import SDFT, SDPO
    from .sampling import Model

T = TypeVar("T")
Both = dict[str, dict[str, Tensor]]
"""The same completions after the prompts of the student and after those of the teacher."""
MEASURED_SAMPLES = 4
"""Completions of each validation prompt: chance moves their mean by half as much as that of one."""


def completion_losses(
    beta: float,
    top_k: int | None,
    student: Model,
    teacher: Model,
    both: Both,
) -> Tensor:
    """Mean divergence from the teacher over the tokens of each completion, (completions,)."""
    with torch.no_grad():
        taught = token_logits(teacher, both["teacher"])
    values = divergence(token_logits(student, both["student"]), taught, beta, top_k)
    return mean_of_each(values, _counts(both["student"]))


def both_of(
    session: Session,
    teacher: Model,
    ids: Sequence[Ids],
    seen: list[Content],
    said: list[Ids],
) -> Both:
    """Completions after the student's prompts, as token ids, and after what the teacher sees."""
    return {
        "student": collate(session, ids, said),
        "teacher": collate(session, teachers_ids(session, teacher, seen, said), said),
    }


def _counts(batch: dict[str, Tensor]) -> Tensor:
    return (batch["labels"] != -100).sum(1)


def _sampled(
    method: SDFT | SDPO,
    session: Session,
    model: Model,
    prompts: list[Content],
    num_samples: int,
) -> tuple[list[Ids], list[Ids]]:
    """Prompts, each as often as it has completions, and the completions, as token ids."""
    longest = method.max_completion_length
    ids = room_for(session, session.prompt_ids(prompts), longest)
    said = sample(
        session,
        model,
        ids,
        temperature=method.temperature,
        max_completion_length=longest,
        num_samples=num_samples,
    )
    return _repeated(ids, num_samples), said


# ── SDFT ──


def sdft(method: SDFT, session: Session) -> PreTrainedModel:
    """The student after the budget is spent."""
    teacher, student = past_self(session), session.model()
    optimizer = session.optimizer(student, method.lr)
    for rows in session.rows(Format.PROMPT_COMPLETION):
        both = demonstrated(method, session, student.eval(), teacher, rows)
        losses = partial(completion_losses, method.alpha, None, without_dropout(student), teacher)
        session.learn(optimizer, both, losses)
        if method.teacher_update_rate:
            follow(teacher, student, method.teacher_update_rate)
    return student


def demonstrated(
    method: SDFT,
    session: Session,
    student: Model,
    teacher: Model,
    rows: dict[str, list[Any]],
) -> Both:
    """What the student says to the prompts; the teacher sees how they should be answered."""
    ids, said = _sampled(method, session, student, rows["prompt"], 1)
    pairs = zip(rows["prompt"], rows["completion"], strict=True)
    seen = [shown(method.template, p, text_of(c)) for p, c in pairs]
    return both_of(session, teacher, ids, seen, said)


def sdft_objective(method: SDFT, session: ValidationSession, model: Model) -> dict[str, float]:
    """Mean divergence of the model's own completions from the start that sees the demonstration."""
    teacher = session.reference()
    found = [
        completion_losses(
            method.alpha,
            None,
            model,
            teacher,
            demonstrated(method, session, model, teacher, rows),
        )
        for rows in session.rows(Format.PROMPT_COMPLETION)
    ]
    return {"divergence": float(torch.cat(found).mean())}


# ── SDPO ──


def sdpo(method: SDPO, session: Session) -> PreTrainedModel:
    """The student after the budget is spent."""
    teacher, student = past_self(session), session.model()
    optimizer = session.optimizer(student, method.lr)
    for rows in _prompts(session, session.batch_size // method.num_generations):
        ids, said, rewards = attempts(method, session, student.eval(), rows, method.num_generations)
        without_dropout(student)
        both = retold(method, session, teacher, rows, ids, said, rewards)
        if both is not None:
            losses = partial(completion_losses, method.alpha, method.top_k, student, teacher)
            session.learn(optimizer, both, losses)
        else:  # as in TRL, a step without a gradient, so that a budget in steps has an end
            batch = collate(session, ids, said)
            session.learn(optimizer, batch, lambda part: 0.0 * token_losses(student, part))
        if method.teacher_update_rate:
            follow(teacher, student, method.teacher_update_rate)
    return student


def retold(
    method: SDPO,
    session: Session,
    teacher: Model,
    rows: dict[str, list[Any]],
    ids: list[Ids],
    said: list[Ids],
    rewards: Tensor,
) -> Both | None:
    """The completions of which another attempt at the same prompt succeeded; the teacher sees that
    one. None where there are none.
    """
    count = len(said) // len(rows["prompt"])
    won = successes(rewards, count, method.success_reward_threshold)
    learning = [(number, other) for number, other in enumerate(won) if other is not None]
    if not learning:
        return None
    prompts = _repeated(rows["prompt"], count)
    texts = session.tokenizer.batch_decode(said, skip_special_tokens=True)
    seen = [shown(method.template, prompts[n], texts[other]) for n, other in learning]
    mine = [(ids[n], said[n]) for n, _ in learning]
    return both_of(session, teacher, [i for i, _ in mine], seen, [s for _, s in mine])


def attempts(
    method: SDPO,
    session: Session,
    model: Model,
    rows: dict[str, list[Any]],
    num_samples: int,
) -> tuple[list[Ids], list[Ids], Tensor]:
    """Prompts and completions as token ids, those of one prompt in a row, and what each earns."""
    ids, said = _sampled(method, session, model, rows["prompt"], num_samples)
    texts = session.tokenizer.batch_decode(said, skip_special_tokens=True)
    drawn = {column: _repeated(values, num_samples) for column, values in rows.items()}
    return ids, said, session.reward(drawn, texts, said)


def successes(rewards: Tensor, num_generations: int, threshold: float) -> list[int | None]:
    """For each completion, the first other one of its prompt that earned enough to teach it, or
    None.
    """
    enough = [value >= threshold for value in rewards.tolist()]
    found: list[int | None] = []
    for number in range(len(enough)):
        first = number - number % num_generations
        others = (n for n in range(first, first + num_generations) if n != number and enough[n])
        found.append(next(others, None))
    return found


def sdpo_objective(method: SDPO, session: ValidationSession, model: Model) -> dict[str, float]:
    """Mean reward of samples of the validation prompts, and where some succeeded, mean divergence
    of the others of the same prompt from the start that sees one of them.
    """
    teacher, count = session.reference(), MEASURED_SAMPLES
    rewards: list[Tensor] = []
    apart: list[Tensor] = []
    for rows in session.rows(Format.PROMPT_ONLY):
        ids, said, earned = attempts(method, session, model, rows, count)
        both = retold(method, session, teacher, rows, ids, said, earned)
        rewards.append(earned)
        if both is not None:
            apart.append(completion_losses(method.alpha, method.top_k, model, teacher, both))
    found = {"divergence": apart, "reward": rewards}
    return {name: float(torch.cat(values).mean()) for name, values in found.items() if values}


def _prompts(session: Session, size: int) -> Iterator[dict[str, list[Any]]]:
    """Rows of prompts, `size` at a time, until the budget is spent; a whole number of them fills a
    batch.
    """
    for rows in session.rows(Format.PROMPT_ONLY):
        for first in range(0, session.batch_size, size):
            yield {column: values[first : first + size] for column, values in rows.items()}
            if session.progress >= 1:
                return


def _repeated(values: list[T], count: int) -> list[T]:
    """Each value so many times in a row, as completions are ordered."""
    return [value for value in values for _ in range(count)]
