"""Right answers of a reward, by outside standards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.filters.extraction import RegexFilter

from bench.data.rewards.verifiers import VERIFIERS, choice, exact, last_number, number
from bench.system.errors import BrokenReward

GSM8K = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nShe sold 72.\n#### 72"


@pytest.mark.parametrize(
    ("completion", "answer", "right"),
    [
        ("The answer is 72.", GSM8K, True),
        ("72 clips, that is $72.00", GSM8K, True),
        ("48 + 24 = 72, so 73", GSM8K, False),
        ("", GSM8K, False),
        ("It costs $1,234,567.50.", "#### 1234567.5", True),
        ("-5", "#### 5", False),
        ("it is −5", "-5.0", True),
        ("-$5", "$-5", True),
        ("9-3 is 6", "6", True),
        ("9-3", "3", True),
        ("1,2", "2", True),
        ("between .5 and 0.50", "1/0.5", True),
    ],
)
def test_numbers(completion: str, answer: str, right: bool) -> None:
    assert number(completion, answer, {}) == right


@pytest.mark.parametrize(
    "completion",
    ["The answer is 72.", "#### 72", "$1,234.50", "He has 5 - 3 = 2 left.", "So -17", "1,000,000"],
)
def test_the_last_number_is_that_of_lm_evals_flexible_extraction(completion: str) -> None:
    """The filter of lm-eval's gsm8k, and what its exact match ignores."""
    flexible = RegexFilter("(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)
    found = str(next(iter(flexible.apply([[completion]], [{}])))[0])
    assert last_number(completion) == last_number(
        found.replace(",", "").replace("$", "").rstrip(".")
    )


@given(st.integers(-(10**12), 10**12), st.integers(0, 99), st.booleans(), st.booleans())
def test_a_number_is_the_same_however_it_is_written(
    whole: int, cents: int, commas: bool, dollar: bool
) -> None:
    sign, digits = "-" if whole < 0 else "", f"{abs(whole):,}" if commas else str(abs(whole))
    written = f"{sign}{'$' * dollar}{digits}.{cents:02}"
    assert number(f"12 of them: {written}.", f"#### {sign}{abs(whole)}.{cents:02}00", {}) == 1
    assert number(f"{written} or 7.125", f"{sign}{abs(whole)}.{cents:02}", {}) == 0


@given(st.text())
def test_any_text_has_a_last_number_or_none(text: str) -> None:
    found = last_number(text)
    assert found is None or any(c in "0123456789" for c in text)
    assert exact(text, text, {}) == 1


@pytest.mark.parametrize(
    ("completion", "answer", "choices", "right"),
    [
        (" B", "B", None, True),
        ("(B) because A is wrong", "B", None, True),
        ("Bread", "B", None, False),
        ("the answer is **C**.", "C", None, True),
        ("It is a b", "B", None, False),
        ("Not sure", "A", None, False),
        ("I say Positive!", "positive", ["negative", "positive"], True),
        ("nonpositive", "positive", ["negative", "positive"], False),
        ("New York City", "New York", ["New York City", "New York"], False),
        ("B", "B", ["a dog", "a cat"], True),
    ],
)
def test_choices(completion: str, answer: str, choices: Any, right: bool) -> None:
    assert choice(completion, answer, {"choices": choices}) == right


def test_an_answer_that_cannot_be_right_is_told() -> None:
    with pytest.raises(BrokenReward, match="the answer 'none' holds no number"):
        number("3", "none", {})
    with pytest.raises(BrokenReward, match="the answer 'F' is none of A, B, C, D, E"):
        choice("F", "F", {})


def test_math_is_what_trls_accuracy_reward_says() -> None:
    pytest.importorskip("math_verify")
    from trl.rewards.accuracy_rewards import accuracy_reward

    said = [r"\boxed{\frac{1}{3}}", r"\boxed{0.5}", "no idea", r"$x = \frac{2}{6}$"]
    answers = [r"\frac{1}{3}", r"$\frac{1}{2}$", "$7$", r"$\frac{1}{3}$"]
    theirs = accuracy_reward([[{"role": "assistant", "content": s}] for s in said], answers)
    ours = [VERIFIERS["math"](s, a, {}) for s, a in zip(said, answers, strict=True)]
    assert ours == theirs
