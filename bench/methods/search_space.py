"""Search ranges of hyper-parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.methods.method import Merger, Method


@dataclass(frozen=True)
class LogRange:
    """Search range of a positive hyper-parameter, uniform in its logarithm."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}, log"


@dataclass(frozen=True)
class Range:
    """Search range of a hyper-parameter, uniform between its ends."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """Search range of a hyper-parameter with a few values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.values))


SearchRange = LogRange | Range | Choice


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
