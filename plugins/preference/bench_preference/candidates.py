"""Candidates that a model itself proposes, and who wins among them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from transformers import GenerationConfig

from .ends import CutOff

if TYPE_CHECKING:
    from bench import Session

Rows = dict[str, list[Any]]
"""Prompts, and what else belongs to each, as columns."""
Ranker = Callable[[Rows, list[str]], list[float]]
"""From rows of prompts and a completion of each to their scores."""
Item = TypeVar("Item")


class Scored(NamedTuple):
    """The different completions that were sampled of one prompt, with their scores."""

    prompt: Any
    scores: dict[str, float]


def sample(
    model: Any, session: Session, prompts: Sequence[Any], settings: Mapping[str, Any]
) -> list[str]:
    """One sampled completion of each prompt, a `CutOff` where it did not end. `settings` are those
    of `GenerationConfig`, and what they do not say is plain sampling.

    Passes are charged as rollout, as many rows at once as a batch has. They are not split by
    `micro`: random numbers are drawn for all rows of a part, token by token, so other parts would
    give other samples, and another gradient.
    """
    tokenizer = session.tokenizer
    ends = session.end_ids(model)
    config = GenerationConfig(
        do_sample=True,
        top_p=1.0,
        repetition_penalty=1.0,
        use_cache=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=ends,
        **settings,
    )
    room = max(1, session.max_length - settings["max_new_tokens"])
    found = []
    for first in range(0, len(prompts), session.batch_size):
        some = prompts[first : first + session.batch_size]
        encoded = tokenizer.pad(
            {"input_ids": session.prompt_ids(some)}, padding_side="left", return_tensors="pt"
        )
        ids, mask = (
            encoded[name][:, -room:].to(session.device) for name in ("input_ids", "attention_mask")
        )
        with torch.no_grad(), session.purpose("rollout"):
            whole = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        begun = tokenizer.batch_decode(ids, skip_special_tokens=True)
        texts = tokenizer.batch_decode(whole, skip_special_tokens=True)
        for text, start, said in zip(texts, begun, whole[:, ids.shape[1] :].tolist(), strict=True):
            completion = text[len(start) :]
            ended = not set(ends).isdisjoint(said)
            found.append(completion if ended else CutOff.of(completion, said))
    return found


def scored_samples(
    model: Any,
    rank: Ranker,
    session: Session,
    rows: Rows,
    count: int,
    settings: Mapping[str, Any],
) -> list[Scored]:
    """`count` samples of each prompt; each different one of them is scored once."""
    drawn = sample(model, session, [p for p in rows["prompt"] for _ in range(count)], settings)
    different = [
        dict.fromkeys(drawn[first : first + count]) for first in range(0, len(drawn), count)
    ]
    numbers = [number for number, candidates in enumerate(different) for _ in candidates]
    repeated = {name: [values[n] for n in numbers] for name, values in rows.items()}
    scores = iter(rank(repeated, [c for candidates in different for c in candidates]))
    return [
        Scored(prompt, {candidate: next(scores) for candidate in candidates})
        for prompt, candidates in zip(rows["prompt"], different, strict=True)
    ]


def collected(
    rank: Ranker,
    session: Session,
    batches: Iterator[Rows],
    count: int,
    settings: Mapping[str, Any],
) -> Iterator[Scored]:
    """As `scored_samples` of the start for batches of prompts, while there is budget: for as many
    prompts at a time as make one batch of samples, since a whole batch of them would overrun it by
    far.
    """
    sampler = session.model("rollout").eval()
    size = max(1, session.batch_size // count)
    for rows in batches:
        for first in range(0, len(rows["prompt"]), size):
            if session.progress >= 1:
                return
            few = {column: values[first : first + size] for column, values in rows.items()}
            yield from scored_samples(sampler, rank, session, few, count, settings)


def tournament(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """Winner and loser of each match of a knock-out among candidates by their scores, in the order
    given; the final is the last.

    Of m candidates there are m - 1 matches. Where the number of players is odd, the last one waits
    for the next round.
    """
    players, matches = list(scores), []
    while len(players) > 1:
        pairs = zip(players[::2], players[1::2], strict=False)
        played = [(a, b) if scores[a] >= scores[b] else (b, a) for a, b in pairs]
        matches += played
        players = [winner for winner, _ in played] + players[2 * len(played) :]
    return matches


def first_round(candidates: Sequence[str], scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """Winner and loser of neighbours: first and second, third and fourth, and so on."""
    pairs = zip(candidates[::2], candidates[1::2], strict=False)
    return [(a, b) if scores[a] >= scores[b] else (b, a) for a, b in pairs]


def statistical_rejection(
    scores: Mapping[str, float],
    count: int,
    beta: float,
    draw: Callable[[], float] = random.random,
) -> list[str]:
    """`count` of the candidates, or all if there are fewer, drawn from the optimal policy that the
    scores imply: a candidate is accepted with probability exp((score - highest score left) / β).
    Liu et al. 2023, 2309.06657, algorithm 1.

    `draw` gives numbers in [0, 1).
    """
    left, accepted = dict(scores), []
    while left and len(accepted) < count:
        highest = max(left.values())
        for candidate, score in list(left.items()):
            if draw() < math.exp((score - highest) / beta):
                accepted.append(candidate)
                del left[candidate]
                if len(accepted) == count:
                    break
    return accepted


def endless(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """Batches without end, all items once before one comes again, in a new order each time."""

    def numbers() -> Iterator[int]:
        while True:
            yield from torch.randperm(len(items)).tolist()

    order = numbers()
    while True:
        yield [items[number] for number in islice(order, size)]
