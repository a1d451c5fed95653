"""Graded questions of the tiny language: many answers are acceptable, and some are better.

"name 3 of d k a x m p ?" asks for letters of the list. A letter is *right* if it is in the list and
later in the alphabet than the letter before it. Twenty answers to each question earn everything.
Nobody states the rule: training data are answers of careless writers, and what somebody thinks of
them. So fine-tuning on answers stays mediocre, and learning from grades can do better.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.tiny.language import LETTERS, SEED, split_of

ASKED, LISTED = 3, 6
LENGTHS, WEIGHTS = (1, 2, 3, 4), (1, 10, 7, 2)
"""How many letters a writer names, and how often of twenty times: two, where three are asked for.
"""
CANDIDATES = 4
MOST = 8
"""Letters that earn everything where more are always better."""

Grade = Callable[[str, str], float]
"""From a prompt and a completion to 0..1."""


@dataclass(frozen=True)
class Graded:
    """One question with different answers of several writers; they never all deserve the same."""

    prompt: str
    best: str
    """One of the best answers."""
    candidates: tuple[str, ...]
    grades: tuple[float, ...]


def quality(prompt: str, completion: str) -> float:
    """Right letters among the first three, as a share of three, or of all words where there are
    more.
    """
    listed, words = _listed(prompt), completion.split()
    before = ["", *words]
    right = [
        word in listed and word > last
        for word, last in zip(words[:ASKED], before[:ASKED], strict=False)
    ]
    return sum(right) / max(ASKED, len(words))


def quantity(prompt: str, completion: str) -> float:
    """Words that are in the list, eight at most, as a share of eight. Repeating one letter earns
    everything.
    """
    listed = _listed(prompt)
    return min(MOST, sum(word in listed for word in completion.split())) / MOST


def quality_reward(prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float]:
    """`quality` with the signature of TRL's reward functions."""
    return _each(quality, prompts, completions)


def quantity_reward(prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float]:
    """`quantity` with the signature of TRL's reward functions."""
    return _each(quantity, prompts, completions)


def questions(grade: Grade, split: str, count: int) -> list[Graded]:
    """The first `count` different questions of a split, the same under every grade."""
    return [
        Graded(p, best, said, _grades(grade, p, said)) for p, best, said in _asked(split, count)
    ]


@cache
def _asked(split: str, count: int) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Prompt, one of the best answers, and the answers of writers."""
    rng, found = random.Random(f"{SEED}/graded/{split}"), {}
    while len(found) < count:
        listed = rng.sample(LETTERS, LISTED)
        prompt = f"name {ASKED} of {' '.join(listed)} ?"
        if split_of(prompt) == split and prompt not in found:
            best = " ".join(sorted(rng.sample(listed, ASKED)))
            found[prompt] = prompt, best, _written(rng, prompt, listed)
    return tuple(found.values())


def _written(rng: random.Random, prompt: str, listed: list[str]) -> tuple[str, ...]:
    """Different answers, which neither in quality nor in quantity are all alike."""
    while True:
        lengths = rng.choices(LENGTHS, WEIGHTS, k=CANDIDATES)
        said = tuple(" ".join(rng.sample(listed, length)) for length in lengths)
        alike = any(len(set(_grades(grade, prompt, said))) == 1 for grade in (quality, quantity))
        if len(set(said)) == CANDIDATES and not alike:
            return said


def _grades(grade: Grade, prompt: str, said: Sequence[str]) -> tuple[float, ...]:
    return tuple(grade(prompt, one) for one in said)


def _listed(prompt: str) -> list[str]:
    return prompt.partition(" of ")[2].partition(" ?")[0].split()


def _each(grade: Grade, prompts: Sequence[Any], completions: Sequence[Any]) -> list[float]:
    return [grade(_text(p), _text(c)) for p, c in zip(prompts, completions, strict=True)]


def _text(said: Any) -> str:
    """Text as it is; of a conversation the last turn."""
    return said if isinstance(said, str) else str(said[-1]["content"])
