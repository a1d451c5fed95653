"""How a recipe is written in a suite, and what is wrong with its hyper-parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from bench.errors import nearest

if TYPE_CHECKING:
    pass


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
    """What a row is called when nobody says: sft, sft+dpo, merge(sft, lora)."""
    parts = parameters.get("parts") if isinstance(parameters, dict) else parameters
    if not isinstance(parts, list):
        return name
    inside = [label(*entry(part)[:2]) for part in parts]
    return "+".join(inside) if name == "chain" else f"{name}({', '.join(inside)})"


def mistakes(
    name: str, method: type[BaseModel], parameters: Any
) -> list[tuple[tuple[int | str, ...], str]]:
    """What is wrong with hyper-parameters: where, and in words."""
    try:
        method.model_validate(parameters)
    except ValidationError as error:
        return [(e["loc"], _mistake(name, method, e)) for e in error.errors()]
    return []


def _mistake(name: str, method: type[BaseModel], error: Any) -> str:
    known = list(method.model_fields)
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


def _demand_none(found: list[tuple[tuple[int | str, ...], str]]) -> None:
    if found:
        raise ValueError("; ".join(what for _, what in found))
