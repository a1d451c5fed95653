"""A student that learns from a teacher: on given rows, on rows of the teacher, or on its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bench import Format, token_logits, token_losses, without_dropout

from .losses import divergence
from .sampling import collate, generate, room_for, sample
from .teachers import teacher_again, teacher_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Conversation, Session, ValidationSession

    from . import GKD, KD, SeqKD
    from .sampling import Model

Batch = dict[str, Tensor]
Prompts = list["str | Conversation"]


def kd(method: KD, session: Session) -> PreTrainedModel:
    """The student after the budget is spent."""
    teacher, student = teacher_of(method, session), without_dropout(session.model())
    optimizer = session.optimizer(student, method.lr)
    for batch in session.batches(Format.PROMPT_COMPLETION):
        session.learn(optimizer, batch, partial(mixed_losses, method.alpha, student, teacher))
    return student


def mixed_losses(alpha: float, student: Model, teacher: PreTrainedModel, batch: Batch) -> Tensor:
    """(1 − α)·NLL + α·KL(teacher ‖ student) of every labelled token, (labelled tokens,)."""
    nll, apart = _nll_and_divergence(student, teacher, batch)
    return (1 - alpha) * nll + alpha * apart


def gkd(method: GKD, session: Session) -> PreTrainedModel:
    """The student after the budget is spent."""
    teacher, student = teacher_of(method, session), session.model()
    optimizer = session.optimizer(student, method.lr)
    for rows in session.rows(Format.PROMPT_COMPLETION):
        own = float(torch.rand(())) < method.lmbda
        batch = (
            own_batch(method, session, student.eval(), rows["prompt"])
            if own
            else session.encode(rows["prompt"], rows["completion"])
        )
        losses = partial(token_divergences, method.beta, without_dropout(student), teacher)
        session.learn(optimizer, batch, losses)
    return student


def token_divergences(
    beta: float, student: Model, teacher: PreTrainedModel, batch: Batch
) -> Tensor:
    """Generalised JSD from the teacher of every labelled token, (labelled tokens,)."""
    return divergence(token_logits(student, batch), _taught(teacher, batch), beta)


def own_batch(method: GKD, session: Session, student: Model, prompts: Prompts) -> Batch:
    """What the student itself says to the prompts."""
    ids = room_for(session, session.prompt_ids(prompts), method.max_completion_length)
    said = sample(
        session,
        student,
        ids,
        temperature=method.temperature,
        max_completion_length=method.max_completion_length,
    )
    return collate(session, ids, said)


def seq_kd(method: SeqKD, session: Session) -> PreTrainedModel:
    """The student after the budget is spent."""
    teacher, student = teacher_of(method, session), without_dropout(session.model())
    optimizer = session.optimizer(student, method.lr)
    for rows in session.rows(Format.PROMPT_COMPLETION):
        batch = teachers_batch(method, session, teacher, rows["prompt"])
        session.learn(optimizer, batch, lambda part: token_losses(student, part))
    return student


def teachers_batch(
    method: SeqKD, session: Session, teacher: PreTrainedModel, prompts: Prompts
) -> Batch:
    """What the teacher finds most likely to be said to the prompts, as beam search finds it."""
    longest = method.max_completion_length
    ids = room_for(session, session.prompt_ids(prompts), longest)
    how: dict[str, Any] = {"do_sample": False, "num_beams": method.num_beams}
    if method.num_beams > 1:
        how["length_penalty"] = 0.0  # the likelihood itself, not its mean over the tokens
    return collate(session, ids, generate(session, teacher, ids, longest, **how))


# ── what was learned ──


def kd_objective(method: KD, session: ValidationSession, model: Model) -> dict[str, float]:
    """Means per labelled token of the validation rows."""
    teacher = teacher_again(method, session)
    nll, apart, count = 0.0, 0.0, 0
    for batch in session.batches(Format.PROMPT_COMPLETION):
        losses, divergences = _nll_and_divergence(model, teacher, batch)
        nll, apart = nll + float(losses.sum()), apart + float(divergences.sum())
        count += len(losses)
    nll, apart = nll / max(count, 1), apart / max(count, 1)
    loss = (1 - method.alpha) * nll + method.alpha * apart
    return {"loss": loss, "nll": nll, "divergence": apart}


def gkd_objective(method: GKD, session: ValidationSession, model: Model) -> dict[str, float]:
    """The expected loss of a batch: mean divergence per token, on the model's own completions with
    the weight λ, and on those of the validation rows with the rest.
    """
    teacher = teacher_again(method, session)
    apart = partial(token_divergences, method.beta, model, teacher)
    own = partial(own_batch, method, session, model)
    parts: list[tuple[float, Callable[[dict[str, list]], Batch]]] = [
        (method.lmbda, lambda rows: own(rows["prompt"])),
        (1 - method.lmbda, lambda rows: session.encode(rows["prompt"], rows["completion"])),
    ]
    total = 0.0
    for weight, batch_of in parts:
        if weight:
            batches = (batch_of(rows) for rows in session.rows(Format.PROMPT_COMPLETION))
            values = torch.cat([apart(batch) for batch in batches])
            total += weight * float(values.mean())
    return {"divergence": total}


def seq_kd_objective(method: SeqKD, session: ValidationSession, model: Model) -> dict[str, float]:
    """Mean negative log-likelihood per token of what the teacher says to the validation prompts."""
    teacher = teacher_again(method, session)
    rows = session.rows(Format.PROMPT_COMPLETION)
    batches = (teachers_batch(method, session, teacher, some["prompt"]) for some in rows)
    return {"nll": float(torch.cat([token_losses(model, batch) for batch in batches]).mean())}


def _nll_and_divergence(
    student: Model, teacher: PreTrainedModel, batch: Batch
) -> tuple[Tensor, Tensor]:
    """NLL and KL(teacher ‖ student) of every labelled token, from one pass of each model."""
    logits = token_logits(student, batch)
    labels = batch["labels"][:, 1:]
    nll = cross_entropy(logits, labels[labels != -100], reduction="none")
    return nll, divergence(logits, _taught(teacher, batch), 0.0)


@torch.no_grad()
def _taught(teacher: PreTrainedModel, batch: Batch) -> Tensor:
    return token_logits(teacher, batch)
