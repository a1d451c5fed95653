"""What completions earn in a session: the task's reward, computed and charged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.data.chat import Conversation
from bench.data.rewards import functions
from bench.data.rewards.reward import RewardTerm
from bench.data.rewards.verifiers import VERIFIERS
from bench.methods.hand_out import metered
from bench.models.judge import Judge, load_judge, load_judge_tokenizer
from bench.system.errors import BrokenReward

if TYPE_CHECKING:
    from bench.methods.state import SessionState

Rows = Mapping[str, Sequence[Any]]


def earned(
    session: SessionState,
    rows: Rows,
    completions: Sequence[str],
    completion_ids: Sequence[Sequence[int]] | None,
) -> Tensor:
    """See `Session.reward`."""
    reward = session.task.reward
    total = torch.zeros(len(completions))
    for term in reward.terms:
        if term.is_verifier:
            values = _verified(term, rows, completions)
        elif term.is_function:
            given = _arguments(session, rows, completions, completion_ids)
            values = functions.earned(str(term.name), reward.folder, len(completions), given)
        else:
            values = _judged(session, judge(session, term), rows, completions)
        # as TRL sums them: None counts nothing
        total += term.weight * torch.tensor([0.0 if v is None else v for v in values])
    return total.to(session.device)


def judge(session: SessionState, term: RewardTerm) -> Judge:
    """The classifier of a reward, loaded once in a session: frozen, and charged as reward."""
    name, place = str(term.model), term.judge(session.task.reward.folder)
    if place not in session.judges:
        with session.loading():
            model = load_judge(name, place, session.dtype, session.device)
            metered(session, model, "reward")
        tokenizer = load_judge_tokenizer(place)
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
        session.judges[place] = Judge(name, model, tokenizer)
    return session.judges[place]


def turns_of(prompt: Any) -> list[dict[str, Any]] | None:
    """The turns of a conversation; None where a prompt is plain text."""
    return list(prompt.turns) if isinstance(prompt, Conversation) else None


def in_trls_shape(
    prompts: Sequence[Any], completions: Sequence[str]
) -> tuple[list[Any], list[Any]]:
    """Prompts and completions as TRL hands them to a reward: text as text, a conversation as a list
    of turns, and then its completion as one, too.
    """
    turns = [turns_of(prompt) for prompt in prompts]
    said = [
        text if turn is None else [{"role": "assistant", "content": text}]
        for turn, text in zip(turns, completions, strict=True)
    ]
    return [p if turn is None else turn for p, turn in zip(prompts, turns, strict=True)], said


def _verified(term: RewardTerm, rows: Rows, completions: Sequence[str]) -> list[float | None]:
    if "answer" not in rows:
        raise BrokenReward(f"reward {term.name} needs an answer, and the data has none")
    verify = VERIFIERS[str(term.name)]
    found = []
    for number, (text, answer) in enumerate(zip(completions, rows["answer"], strict=True)):
        row = {"choices": rows["choices"][number]} if "choices" in rows else {}
        found.append(verify(text, str(answer), row))
    return found


def _arguments(
    session: SessionState,
    rows: Rows,
    completions: Sequence[str],
    completion_ids: Sequence[Sequence[int]] | None,
) -> dict[str, Any]:
    """What a reward function is called with, as `trl.GRPOTrainer` calls it."""
    from transformers import TrainerState  # it imports what trainers need, seconds long

    prompts, said = in_trls_shape(rows["prompt"], completions)
    ids = completion_ids or session.tokenizer(list(completions))["input_ids"]
    return {key: _plain(values) for key, values in rows.items() if key != "prompt"} | {
        "prompts": prompts,
        "completions": said,
        "completion_ids": [list(one) for one in ids],
        "trainer_state": TrainerState(global_step=session.ledger.steps),
        "log_extra": _nowhere,
        "log_metric": _nowhere,
    }


def _plain(cells: Sequence[Any]) -> list[Any]:
    return [turns_of(cell) or cell for cell in cells]


def _nowhere(*_: Any) -> None:
    """For functions that log; a report holds nothing of it."""


@torch.no_grad()
def _judged(
    session: SessionState, judge: Judge, rows: Rows, completions: Sequence[str]
) -> list[float | None]:
    """What a classifier gives, a part of the completions at a time, charged as reward."""
    prompts, said = in_trls_shape(rows["prompt"], completions)
    size, found = session.rows_at_once, []
    with session.purpose("reward"):
        for first in range(0, len(said), size):
            part = slice(first, first + size)
            logits = judge.model(**judge.inputs(prompts[part], said[part])).logits
            found += logits[:, 0].float().tolist()
    return found
