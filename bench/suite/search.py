"""An equal search for every recipe: the same points of one quasi-random sequence, laid into each
recipe's own ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from bench.methods import registry
from bench.methods.entry import entry
from bench.methods.recipe import Recipe
from bench.methods.search_space import (
    Choice,
    Hyperparameter,
    LogRange,
    Range,
    SearchRange,
    hyperparameters,
)
from bench.records.schema import Record

Place = tuple[int | str, ...]
"""Where a hyper-parameter stands in a recipe: ("lr",), or (1, "dpo", "beta") in a part of a chain.
"""
DIGITS = 3  # of a drawn number: more would say nothing and read badly


@dataclass(frozen=True)
class Rule:
    """How one trial is chosen among those of a recipe."""

    name: str
    text: str
    choose: Callable[[Sequence[Record]], Record | None]


def _best_on_validation(trials: Sequence[Record]) -> Record | None:
    """The earlier trial wins a tie, so that the choice does not depend on which run ended first."""
    fine = sorted((r for r in trials if r.ok), key=lambda r: r.trial or 0)
    return max(fine, key=lambda r: r.target_score, default=None)


RULES = {
    rule.name: rule
    for rule in (
        Rule(
            "best-validation",
            "the trial with the best mean score of the targets on the validation split",
            _best_on_validation,
        ),
    )
}


@dataclass(frozen=True)
class Draw:
    """One point of the sequence in a recipe's own ranges."""

    parameters: Any
    """The recipe's parameters, as the suite would give them."""
    drawn: dict[str, Any]
    """What was open and is now set, by dotted name such as lr or 1.dpo.beta."""


def draws(name: str, parameters: Any, trials: int, seed: int) -> list[Draw]:
    """What the suite leaves open in a recipe, drawn `trials` times; none where nothing is open.

    Points are those of a scrambled Halton sequence (Owen 2017, 1706.02808), of which the first
    coordinates stay what they are when more are asked for: every recipe has the same points, each
    cut to as many coordinates as the recipe has ranges.
    """
    from scipy.stats import qmc

    places = list(ranges(name, parameters))
    if not places:
        return []
    points = qmc.Halton(d=len(places), scramble=True, rng=seed).random(trials)
    return [
        _draw(
            parameters, [(place, _laid(h, x)) for (place, h), x in zip(places, point, strict=True)]
        )
        for point in points
    ]


def left_open(name: str, parameters: Any, resolved: Any) -> Any:
    """Resolved parameters without those that the suite leaves to be drawn, so that it still asks
    for the same when read again.
    """
    made = deepcopy(resolved)
    for place, _ in ranges(name, parameters):
        del _at(made, place[:-1])[place[-1]]
    return made


def ranges(name: str, parameters: Any, place: Place = ()) -> Iterator[tuple[Place, Hyperparameter]]:
    """Hyper-parameters with a range that the suite does not set itself, the learning rate first,
    part by part.
    """
    kind = registry.find(name).method
    if kind is None:
        return
    if issubclass(kind, Recipe):
        for number, part in enumerate(_parts(parameters)):
            inner, given, _ = entry(part)
            yield from ranges(inner, given, (*place, number, inner))
        return
    found = [h for h in hyperparameters(kind) if h.range is not None and h.name not in parameters]
    for h in sorted(found, key=lambda h: h.name != "lr"):
        yield (*place, h.name), h


def _parts(parameters: Any) -> list[Any]:
    return parameters["parts"] if isinstance(parameters, dict) else parameters


def _laid(parameter: Hyperparameter, x: float) -> Any:
    """A coordinate 0..1 laid into a range."""
    limits: SearchRange | None = parameter.range
    match limits:
        case Choice(values):
            return values[min(int(x * len(values)), len(values) - 1)]
        case LogRange(low, high):
            value = low * (high / low) ** x
        case Range(low, high):
            value = low + (high - low) * x
        case None:
            raise ValueError(f"{parameter.name} has no range")
    return round(value) if parameter.type == "int" else float(f"{value:.{DIGITS}g}")


def _draw(parameters: Any, values: list[tuple[Place, Any]]) -> Draw:
    made = deepcopy(parameters)
    for place, value in values:
        _put(made, place, value)
    return Draw(made, {".".join(map(str, place)): value for place, value in values})


def _put(parameters: Any, place: Place, value: Any) -> None:
    """Set one hyper-parameter of an entry as a person would have written it."""
    if len(place) == 1:
        parameters[place[0]] = value
        return
    parts, (number, name) = _parts(parameters), place[:2]
    assert isinstance(number, int)
    if isinstance(parts[number], str):
        parts[number] = {name: {}}
    elif not parts[number][name]:
        parts[number][name] = {}
    _put(parts[number][name], place[2:], value)


def _at(parameters: Any, place: Place) -> Any:
    found: Any = parameters
    for step in place:
        found = _parts(found)[step] if isinstance(step, int) else found[step]
    return found
