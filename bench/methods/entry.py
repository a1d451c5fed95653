"""How a recipe is written in a suite, and what it comes to: a method with all its parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.methods import registry
from bench.methods.method import Merger, Method
from bench.methods.search_space import Hyperparameter, hyperparameters, narrower
from bench.system.errors import UserError, nearest

Place = tuple[int | str, ...]
Made = TypeVar("Made", bound=BaseModel)


class Mistakes(ValueError):
    """What is wrong with a recipe: where in its parameters, and in words."""

    def __init__(self, found: list[tuple[Place, str]]) -> None:
        super().__init__("; ".join(what for _, what in found))
        self.found = found


@dataclass(frozen=True)
class Resolved:
    """A recipe with its parameters validated."""

    name: str
    given: Any
    """The parameters that the suite sets, as written there."""
    parameters: Any
    """All parameters as JSON; those given where the plugin cannot be used."""
    usable: Method | None
    """The recipe as a method, or None where its plugin cannot be used."""
    ranges: dict[str, Hyperparameter] = field(default_factory=dict)
    """Those that the suite gives a range to search instead of a value."""

    @property
    def method(self) -> Method:
        """The recipe as a method; `Skipped` where its plugin cannot be used."""
        if self.usable is None:
            registry.usable(self.name)
        assert self.usable is not None
        return self.usable


def resolve(name: str, given: Any) -> Resolved:
    """The recipe of that name with these parameters; `Mistakes` where they are not valid."""
    try:
        kind = registry.find(name).method
    except UserError as error:
        raise Mistakes([((), str(error))]) from None
    if kind is None:
        return Resolved(name, given, given, None)
    values, ranges = _ranges_apart(name, kind, given)
    method = _validated(name, kind, values)
    return Resolved(name, given, method.model_dump(mode="json"), method, ranges)


def resolve_merger(value: Any) -> tuple[str, dict[str, Any]]:
    """Name and all parameters of a merger; `Mistakes` where they are not valid."""
    name, given, _ = entry(value)
    try:
        kind: type[Merger] | None = registry.find_merger(name).method
    except UserError as error:
        raise Mistakes([((), str(error))]) from None
    return name, _validated(name, kind, given).model_dump(mode="json") if kind else given


def entry(value: Any) -> tuple[str, Any, dict[str, Any]]:
    """Name, parameters and the keys beside it of `lora`, or of `lora: {r: 64}` with `as:` or
    `share:` beside it.
    """
    if isinstance(value, str):
        return value, {}, {}
    if not isinstance(value, dict):
        raise ValueError("write a method as name, or as name: {parameter: value}")
    named = [key for key in value if key not in ("as", "share")]
    if len(named) != 1:
        raise ValueError(
            f"an entry names one method, this one names {', '.join(map(str, named)) or 'none'};"
            " start each with its own dash"
        )
    return named[0], value[named[0]] or {}, {key: value[key] for key in value if key != named[0]}


def label(name: str, parameters: Any) -> str:
    """What a row is called without `as:`, such as sft, sft+dpo, merge(sft, lora)."""
    parts = parameters.get("parts") if isinstance(parameters, dict) else parameters
    if not isinstance(parts, list):
        return name
    inside = [label(*entry(part)[:2]) for part in parts]
    return "+".join(inside) if name == "chain" else f"{name}({', '.join(inside)})"


def _ranges_apart(
    name: str, kind: type[Method], given: Any
) -> tuple[Any, dict[str, Hyperparameter]]:
    """The parameters without those that are ranges to search, and these."""
    if not isinstance(given, dict):
        return given, {}
    ranges: dict[str, Hyperparameter] = {}
    limits = {name: value for name, value in given.items() if isinstance(value, dict)}
    for h in hyperparameters(kind) if limits else ():
        if h.range is not None and h.name in limits:
            try:
                ranges[h.name] = narrower(h, limits[h.name])
            except ValueError as error:
                raise Mistakes([((h.name,), f"{name}: {h.name}: {error}")]) from None
    return {key: value for key, value in given.items() if key not in ranges}, ranges


def _validated(name: str, kind: type[Made], given: Any) -> Made:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise Mistakes([(e["loc"], _mistake(name, kind, e)) for e in error.errors()]) from None


def _mistake(name: str, kind: type[BaseModel], error: Any) -> str:
    known = list(kind.model_fields)
    field = str(error["loc"][-1]) if error["loc"] else name
    message = error["msg"]
    match error["type"]:
        case "extra_forbidden":
            return (
                f"{name} has no parameter {field}{nearest(field, known)} (it has"
                f" {', '.join(known)})"
            )
        case "value_error":
            return f"{name}: {error['ctx']['error']}"
        case "greater_than":
            return f"{name}: {field} must be more than {error['ctx']['gt']}, not {error['input']}"
        case _:
            return f"{name}: {field}: {message[:1].lower()}{message[1:]}, not {error['input']!r}"
