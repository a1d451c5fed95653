"""Completions sampled from a model, and what models say about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench import Format, token_log_probs

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bench import Session

    Model = PreTrainedModel | PeftModel

Rows = dict[str, list[Any]]
"""Prompts and what their reward needs, such as answers, as columns."""
Sample = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of a prompt and of a completion of it."""


@dataclass(frozen=True)
class Rollout:
    """n completions of up to t tokens behind prompts of up to p; prompts are padded on the left,
    completions on the right.
    """

    input_ids: Tensor
    """(n, p + t)"""
    attention_mask: Tensor
    """(n, p + t): 1 on prompts and completions, the end of sequence included."""
    mask: Tensor
    """(n, t): the same for the completions alone, as floats."""

    @property
    def completion_ids(self) -> Tensor:
        """(n, t)"""
        return self.input_ids[:, -self.mask.shape[1] :]

    def select(self, numbers: Tensor) -> Rollout:
        """Some of the completions."""
        return Rollout(self.input_ids[numbers], self.attention_mask[numbers], self.mask[numbers])

    def texts(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """The completions as text, without special tokens."""
        kept = [
            ids[mask.bool()].tolist()
            for ids, mask in zip(self.completion_ids, self.mask, strict=True)
        ]
        return tokenizer.batch_decode(kept, skip_special_tokens=True)

    def ended(self, ends: Sequence[int]) -> Tensor:
        """Whether each completion has one of the ends, (n,): one that has none was cut off."""
        return (_among(self.completion_ids, ends) & self.mask.bool()).any(1)

    def inputs(self) -> dict[str, Tensor]:
        """What a model is called with. Positions count from a prompt's first token, as they do
        while generating.
        """
        positions = (self.attention_mask.cumsum(1) - 1).clamp(min=0)
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "position_ids": positions,
        }

    def labels(self) -> Tensor:
        """(n, p + t): the completions' tokens, and -100 elsewhere."""
        said = self.completion_ids.masked_fill(self.mask == 0, -100)
        prompts = self.input_ids[:, : -self.mask.shape[1]]
        return torch.cat([torch.full_like(prompts, -100), said], dim=1)

    def tokens(self) -> Iterator[Sample]:
        """Each prompt and its completion without padding."""
        width = self.mask.shape[1]
        for ids, mask in zip(self.input_ids, self.attention_mask.bool(), strict=True):
            yield (
                tuple(ids[:-width][mask[:-width]].tolist()),
                tuple(ids[-width:][mask[-width:]].tolist()),
            )


def _among(ids: Tensor, some: Sequence[int]) -> Tensor:
    return torch.isin(ids, torch.tensor(some, device=ids.device))


@torch.no_grad()
def sample(
    session: Session,
    model: Model,
    prompts: Sequence[str],
    *,
    num_samples: int,
    temperature: float,
    max_completion_length: int,
) -> Rollout:
    """`num_samples` completions of each prompt, those of one prompt in a row, from all of the
    model's distribution.

    Prompt and completion together have at most the session's `max_length` tokens. A prompt that
    leaves less room than it could (half of that, or `max_completion_length`) loses its start.
    """
    tokenizer = session.tokenizer
    ends = session.end_ids(model)
    room = min(max_completion_length, session.max_length // 2)
    encoded = [ids[room - session.max_length :] for ids in session.prompt_ids(prompts)]
    width = max(map(len, encoded))
    ids = torch.tensor(
        [[tokenizer.pad_token_id] * (width - len(row)) + row for row in encoded],
        device=session.device,
    )
    prompt_mask = torch.tensor(
        [[0] * (width - len(row)) + [1] * len(row) for row in encoded], device=session.device
    )
    with session.purpose("rollout"):
        sequences = model.generate(  # pyright: ignore[reportCallIssue]
            input_ids=ids,
            attention_mask=prompt_mask,
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            # a model's own generation settings would sample from something other than the policy
            repetition_penalty=1.0,
            num_return_sequences=num_samples,
            max_new_tokens=longest(session, width, max_completion_length),
            use_cache=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=ends,
        )
    ended = _among(sequences[:, width:], ends).long()
    mask = (ended.cumsum(1) - ended == 0).long()
    return Rollout(
        sequences,
        torch.cat([prompt_mask.repeat_interleave(num_samples, 0), mask], dim=1),
        mask.float(),
    )


def longest(session: Session, width: int, max_completion_length: int) -> int:
    """Most tokens of a completion behind prompts padded to `width` tokens."""
    return min(max_completion_length, session.max_length - width)


def joined(some: Sequence[Rollout]) -> Rollout:
    """Several rollouts as one, whose prompts and completions have the width of the widest."""
    tokens = max(one.mask.shape[1] for one in some)
    prompt = max(one.input_ids.shape[1] - one.mask.shape[1] for one in some)

    def laid(one: Rollout, values: Tensor, with_prompt: bool = True) -> Tensor:
        of_prompt = one.input_ids.shape[1] - one.mask.shape[1]
        left = prompt - of_prompt if with_prompt else 0
        return torch.nn.functional.pad(values, (left, tokens - one.mask.shape[1]))

    return Rollout(
        torch.cat([laid(one, one.input_ids) for one in some]),
        torch.cat([laid(one, one.attention_mask) for one in some]),
        torch.cat([laid(one, one.mask, with_prompt=False) for one in some]),
    )


def log_probs(model: Model, rollout: Rollout, temperature: float) -> Tensor:
    """Log-probability in nats of each token of the completions under a model sampled at
    `temperature`, (n, t); 0 behind a completion.
    """
    batch = rollout.inputs() | {"labels": rollout.labels()}
    return token_log_probs(model, batch, temperature)[:, -rollout.mask.shape[1] :]


def token_values(critic: PreTrainedModel, rollout: Rollout) -> Tensor:
    """The critic's value of the state before each token of the completions, (n, t); 0 behind a
    completion.
    """
    seen: list[Any] = []
    head: torch.nn.Module = critic.score  # pyright: ignore[reportAssignmentType]
    handle = head.register_forward_hook(
        lambda head, inputs, output: seen.append(output)
    )  # the model itself gives the last one alone
    critic(**rollout.inputs())
    handle.remove()
    return seen[0].squeeze(-1)[:, -rollout.mask.shape[1] - 1 : -1].float() * rollout.mask


def repeated(rows: Rows, count: int) -> Rows:
    """Each row so many times in a row, as `sample` orders completions."""
    return {column: [v for v in values for _ in range(count)] for column, values in rows.items()}


def split(session: Session, size: int) -> Iterator[Rows]:
    """Rows of prompts, `size` at a time, until the budget is spent; a whole number of them
    fills a batch.
    """
    for rows in session.rows(Format.PROMPT_ONLY):
        for first in range(0, session.batch_size, size):
            yield {column: values[first : first + size] for column, values in rows.items()}
            if session.progress >= 1:
                return


def gathered(session: Session, batches: int) -> Iterator[Rows]:
    """Rows of prompts, several batches at a time, until the budget is spent."""
    rows = session.rows(Format.PROMPT_ONLY)
    while len(parts := list(islice(rows, batches))) == batches:
        yield {column: [value for part in parts for value in part[column]] for column in parts[0]}
