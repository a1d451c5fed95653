"""Numbers as people write them: 200k, 1.5M, 2e15."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from bench.system.errors import UserError

MULTIPLES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


def _amount(value: Any) -> Any:
    if isinstance(value, str) and value[-1:] in MULTIPLES:
        return float(value[:-1]) * MULTIPLES[value[-1]]
    return value


Amount = Annotated[
    float,
    BeforeValidator(_amount, json_schema_input_type=float | str),
    Field(gt=0, allow_inf_nan=False),
]


SIZES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _bytes(value: Any) -> Any:
    if isinstance(value, float) and value >= SIZES["KiB"]:
        return value  # of a suite that is written down with all its values
    text = str(value).strip()
    try:
        return float(text[:-3]) * SIZES[text[-3:]]
    except (KeyError, ValueError):
        raise ValueError(f"give it with its unit, such as 24GiB or 800MiB, not {value}") from None


Bytes = Annotated[
    float,
    BeforeValidator(_bytes, json_schema_input_type=str),
    Field(gt=0, allow_inf_nan=False),
]


def amount(text: str, name: str) -> float:
    """A number as people write it, such as 400T; `UserError` with its name where it is none."""
    try:
        return TypeAdapter(Amount).validate_python(text)
    except ValidationError:
        raise UserError(f"{name} {text}: give a number above 0, such as 400T or 4e14") from None
