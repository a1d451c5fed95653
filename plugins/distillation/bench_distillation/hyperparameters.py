"""Hyper-parameters that methods share, with what they may be and their search ranges."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from bench import Choice, LogRange, Range

PLACES = ("{prompt}", "{demonstration}")
SDFT_TEMPLATE = (
    "{prompt}\n\nThis is an example for a response to the question:\n{demonstration}\n\n"
    "Now answer with a response of your own, including the thinking process:"
)
SDPO_TEMPLATE = (
    "{prompt}\nCorrect solution:\n\n{demonstration}\n\n\n\nCorrectly solve the original question.\n"
)


def whole_path(name: str | None) -> str | None:
    if name is not None and name.startswith((".", "~")):
        raise ValueError(
            f"teacher is a hub id or a whole path, not {name}: a method does not know where the"
            " suite lies"
        )
    return name


def _both_places(template: str) -> str:
    if missing := [place for place in PLACES if place not in template]:
        raise ValueError(f"the template holds no {' and no '.join(missing)}")
    return template


Rate = Annotated[
    float, LogRange(1e-6, 1e-2), Field(gt=0, description="peak learning rate of AdamW")
]
Template = Annotated[
    str,
    AfterValidator(_both_places),
    Field(description="what the teacher reads: {prompt} and {demonstration} stand for the texts"),
]
Beta = Annotated[
    float,
    Range(0.0, 1.0),
    Field(
        ge=0,
        le=1,
        description=(
            "which divergence from the teacher: 0 forward KL, 1 reverse KL, and the generalised"
            " Jensen-Shannon divergence between them"
        ),
    ),
]
Temperature = Annotated[float, Range(0.5, 1.5), Field(gt=0, description="sampling temperature")]
Longest = Annotated[
    int,
    Choice((16, 64, 256, 1024)),
    Field(gt=0, description="most tokens of a completion, as far as max_length leaves room"),
]
UpdateRate = Annotated[
    float,
    Range(0.0, 0.1),
    Field(
        ge=0,
        le=1,
        description=(
            "share of the student's weights in the teacher's after each step; 0 keeps the start"
        ),
    ),
]
