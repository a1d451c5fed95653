"""Texts that a model writes when nobody asks it anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench import Session, Skipped

LARGEST_SHARE = 0.2
"""Of the budget, that may go into sampling: what is rehearsed must still be trained."""


@torch.no_grad()
def own_texts(session: Session, samples: int, max_length: int) -> list[str]:
    """So many texts that the start model writes after its first token, those that came to an end;
    fewer, where the budget is small. Charged as `rollout`.

    `Skipped` where the tokenizer has no first token, or no text came to an end.
    """
    tokenizer, found, tries = session.tokenizer, [], 0
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if begin is None:
        raise Skipped("the tokenizer has no token that a text begins with, to sample after")
    model = session.model("rollout").eval()
    ends = session.end_ids(model)
    while tries < samples and session.progress < LARGEST_SHARE:
        size = min(session.batch_size, samples - tries)
        with session.purpose("rollout"):
            ids = model.generate(  # pyright: ignore[reportCallIssue]
                input_ids=torch.full((size, 1), begin, device=session.device),
                attention_mask=torch.ones(size, 1, dtype=torch.long, device=session.device),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                repetition_penalty=1.0,
                max_new_tokens=min(max_length, session.max_length - 2),
                use_cache=True,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=ends,
            )[:, 1:]
        ended = ids[torch.isin(ids, torch.tensor(ends, device=ids.device)).any(1)]
        found += [text for text in tokenizer.batch_decode(ended, skip_special_tokens=True) if text]
        tries += size
    if not found:
        raise Skipped("the start model wrote no text that came to an end")
    return found


def with_texts(
    session: Session, rows: Mapping[str, Sequence[Any]], texts: Sequence[str]
) -> dict[str, Tensor]:
    """Prompts and completions, and below them texts that are learned as a whole, as
    `session.encode` gives them. Each kind is tokenised alone: the prompts may be conversations, and
    a text that follows no prompt is none.
    """
    pairs = [(rows["prompt"], rows["completion"]), ([""] * len(texts), texts)]
    parts = [session.encode(*pair) for pair in pairs if pair[0]]
    fills: dict[str, Any] = {
        "input_ids": session.tokenizer.pad_token_id,
        "attention_mask": 0,
        "labels": -100,
    }
    return {
        name: pad_sequence([row for part in parts for row in part[name]], True, fill)
        for name, fill in fills.items()
    }
