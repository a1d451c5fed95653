"""Shapes of training data, named after their columns as TRL names them."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """A shape of training data, by the columns of its rows. Names follow TRL's dataset formats,
    where TRL has one.
    """

    LANGUAGE_MODELING = "language-modeling"  # text
    PROMPT_COMPLETION = "prompt-completion"  # prompt, completion
    INSTRUCTION = (  # prompt, completion: a mixture of many tasks that leaves the target out
        "instruction"
    )
    PREFERENCE = "preference"  # prompt, chosen, rejected
    UNPAIRED_PREFERENCE = "unpaired-preference"  # prompt, completion, label
    PROMPT_ONLY = "prompt-only"  # prompt, answer; the task's reward says what a completion earns
    RANKING = "ranking"  # prompt, completions, scores


COLUMNS: dict[Format, tuple[str, ...]] = {
    Format.LANGUAGE_MODELING: ("text",),
    Format.PROMPT_COMPLETION: ("prompt", "completion"),
    Format.INSTRUCTION: ("prompt", "completion"),
    Format.PREFERENCE: ("prompt", "chosen", "rejected"),
    Format.UNPAIRED_PREFERENCE: ("prompt", "completion", "label"),
    Format.PROMPT_ONLY: ("prompt", "answer"),
    Format.RANKING: ("prompt", "completions", "scores"),
}
TEXTS = (Format.PROMPT_COMPLETION, Format.INSTRUCTION, Format.LANGUAGE_MODELING)
"""Formats of which every row is one text, with the part of it that is learned."""
