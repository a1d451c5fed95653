"""Rewards that compare a completion with the answer: 1 where it is right, else 0."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from typing import Any

from bench.system.errors import BrokenReward

LETTERS = ("A", "B", "C", "D", "E")
INSTALL = 'pip install "finetuning-bench[math]"'
NUMBER = re.compile(
    r"(?:(?<![\w.)])[-−+])?(?:\$-?)?"  # a minus between two numbers, as in 9-3, is no sign
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+|(?=\.[0-9]))"  # 1,234 or 1234; 3,4 are two
    r"(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?"
)


def last_number(text: str) -> Decimal | None:
    """The last number of a text, such as 1234.5 of "so it is -$1,234.50."; None where none is."""
    found = NUMBER.findall(text)
    if not found:
        return None
    return Decimal(re.sub(r"[$,+]", "", found[-1]).replace("−", "-"))


def exact(completion: str, answer: str, row: Mapping[str, Any]) -> float:
    """1 where the completion is the answer, space around it aside."""
    return float(completion.strip() == answer.strip())


def number(completion: str, answer: str, row: Mapping[str, Any]) -> float:
    """1 where the last number of the completion equals the last number of the answer."""
    if (right := last_number(answer)) is None:
        raise BrokenReward(f"reward number: the answer {answer!r} holds no number")
    return float(last_number(completion) == right)


def choice(completion: str, answer: str, row: Mapping[str, Any]) -> float:
    """1 where the first choice that the completion names is the answer.

    The choices are the row's `choices`, where the answer is one of them, and else the letters A to
    E. A choice counts where it stands alone, not within a word. Case counts for single letters.
    """
    given, right = row.get("choices"), answer.strip()
    offered = tuple(str(one).strip() for one in given) if isinstance(given, Sequence) else ()
    choices = offered if right in offered else LETTERS
    if right not in choices:
        raise BrokenReward(
            f"reward choice: the answer {right!r} is none of {', '.join(offered or LETTERS)}"
        )
    found = _any_of(choices).search(completion)
    return float(found is not None and found[0].lower() == right.lower())


@lru_cache
def _any_of(choices: tuple[str, ...]) -> re.Pattern[str]:
    """Finds the first choice that stands alone; of two that begin at one place the longer."""
    ordered = sorted(filter(None, choices), key=len, reverse=True)
    ways = [re.escape(c) if len(c) == 1 else f"(?i:{re.escape(c)})" for c in ordered]
    return re.compile(rf"(?<!\w)(?:{'|'.join(ways)})(?!\w)")


def math(completion: str, answer: str, row: Mapping[str, Any]) -> float | None:
    """1 where math-verify finds the completion's answer equal to the right one, as in TRL's
    `accuracy_reward`; None where it cannot read the right one.
    """
    checker, latex = import_module("math_verify"), import_module("latex2sympy2_extended")
    if not (right := checker.parse(answer)):
        return None
    boxed_first = checker.LatexExtractionConfig(
        normalization_config=latex.NormalizationConfig(units=True),
        boxed_match_priority=0,
        try_extract_without_anchor=False,
    )
    said = checker.parse(completion, extraction_config=[boxed_first], extraction_mode="first_match")
    return float(checker.verify(right, said))


VERIFIERS = {"exact": exact, "number": number, "math": math, "choice": choice}


def missing_package(verifier: str) -> str | None:
    """How to install what a verifier needs, or None where nothing is missing."""
    if verifier != "math":
        return None
    try:
        import_module("math_verify")
    except ImportError as error:
        return f"reward math needs the package math-verify ({error}): {INSTALL}"
    return None
