"""Search ranges of hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.methods.method import Merger, Method


@dataclass(frozen=True)
class Range:
    """Search range of a hyper-parameter, uniform between its ends."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}"


class LogRange(Range):
    """Search range of a positive hyper-parameter, uniform in its logarithm."""

    def __str__(self) -> str:
        return f"{super().__str__()}, log"


@dataclass(frozen=True)
class Choice:
    """Search range of a hyper-parameter with a few values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.values))


SearchRange = Range | Choice


@dataclass(frozen=True)
class Hyperparameter:
    """One field of a method, as `bench methods NAME` shows it."""

    name: str
    type: str
    default: Any
    """None where there is none, too: `required` tells them apart."""
    required: bool
    range: SearchRange | None
    description: str
    narrowed: bool = False
    """Whether the range is the suite's, not the method's."""


def hyperparameters(method: type[Method] | type[Merger]) -> list[Hyperparameter]:
    """The fields of a method or merger class in the order of their definition."""
    return [
        Hyperparameter(
            name=name,
            type=getattr(field.annotation, "__name__", str(field.annotation)),
            default=None if field.is_required() else field.get_default(call_default_factory=True),
            required=field.is_required(),
            range=next((m for m in field.metadata if isinstance(m, SearchRange)), None),
            description=field.description or "",
        )
        for name, field in method.model_fields.items()
    ]


def narrower(parameter: Hyperparameter, limits: Mapping[str, Any]) -> Hyperparameter:
    """A hyper-parameter that is searched between `low` and `high` instead, on the declared scale.

    ValueError: these are not two numbers in order, or the method declares a choice.
    """
    if isinstance(parameter.range, Choice):
        raise ValueError(f"it is one of {parameter.range}; a range of it cannot be searched")
    assert parameter.range is not None
    if limits.keys() != {"low", "high"}:
        raise ValueError("write a range to search as {low: 1.0e-5, high: 1.0e-3}")
    low, high = limits["low"], limits["high"]
    if not all(isinstance(x, int | float) for x in (low, high)):
        raise ValueError(f"low and high must be numbers, not {low!r} and {high!r}")
    if low >= high:
        raise ValueError(f"low must be less than high, not {low:g} and {high:g}")
    if isinstance(parameter.range, LogRange) and low <= 0:
        raise ValueError(f"it is searched in its logarithm: low must be more than 0, not {low:g}")
    return replace(parameter, range=type(parameter.range)(low, high), narrowed=True)
