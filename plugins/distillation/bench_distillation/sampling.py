"""Completions that a model generates, and tensors of what was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from bench import Session

    Model = PreTrainedModel | PeftModel

Ids = list[int]


def room_for(session: Session, prompts: Sequence[Ids], max_completion_length: int) -> list[Ids]:
    """Prompts as token ids without the start of those that leave too little room for a completion:
    half of `max_length`, or `max_completion_length` where that is less.
    """
    room = min(max_completion_length, session.max_length // 2)
    return [ids[room - session.max_length :] for ids in prompts]


@torch.no_grad()
def generate(
    session: Session,
    model: Model,
    prompts: Sequence[Ids],
    max_completion_length: int,
    **how: Any,
) -> list[Ids]:
    """Completions of each prompt as token ids, the end included; those of one prompt in
    a row. `how` are settings of transformers' `generate`.

    Prompt and completion together have at most the session's `max_length` tokens.
    """
    pad, ends = session.tokenizer.pad_token_id, session.end_ids(model)
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
    sequences = model.generate(  # pyright: ignore[reportCallIssue]
        input_ids=ids.to(session.device),
        attention_mask=mask.to(session.device),
        max_new_tokens=min(max_completion_length, session.max_length - width),
        # a model's own generation settings would generate from something else
        repetition_penalty=1.0,
        use_cache=True,
        pad_token_id=pad,
        eos_token_id=ends,
        **how,
    )
    return [_said(row, ends) for row in sequences[:, width:].tolist()]


def sample(
    session: Session,
    model: Model,
    prompts: Sequence[Ids],
    *,
    temperature: float,
    max_completion_length: int,
    num_samples: int = 1,
) -> list[Ids]:
    """As `generate`, from all of the model's distribution; charged as rollout."""
    how: dict[str, Any] = {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": temperature}
    with session.purpose("rollout"):
        return generate(
            session,
            model,
            prompts,
            max_completion_length,
            num_return_sequences=num_samples,
            **how,
        )


def collate(
    session: Session, prompts: Sequence[Ids], completions: Sequence[Ids]
) -> dict[str, Tensor]:
    """Right-padded input_ids, attention_mask and labels of (rows, longest row) on the device;
    labels cover the completions as they were generated.
    """
    pad = session.tokenizer.pad_token_id
    pairs = list(zip(prompts, completions, strict=True))
    width = max(len(prompt) + len(said) for prompt, said in pairs)
    rest = [width - len(prompt) - len(said) for prompt, said in pairs]
    columns = {
        "input_ids": [p + c + [pad] * r for (p, c), r in zip(pairs, rest, strict=True)],
        "attention_mask": [[1] * (width - r) + [0] * r for r in rest],
        "labels": [[-100] * len(p) + c + [-100] * r for (p, c), r in zip(pairs, rest, strict=True)],
    }
    return {name: torch.tensor(rows, device=session.device) for name, rows in columns.items()}


def _said(ids: Ids, ends: Sequence[int]) -> Ids:
    """What was generated, up to the first end and with it."""
    found = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    return ids[: found + 1]
