"""An equal search for every recipe: the same points of one quasi-random sequence, mapped to each
recipe's own ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from bench.methods.entry import Mistakes, Place, Resolved, resolve
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
from bench.system.errors import UserError

DIGITS = 3  # of a drawn number; more would mean nothing
TRIES = 1000  # at one draw, before the ranges are to blame


def best_on_validation(trials: Sequence[Record]) -> Record | None:
    """The trial with the best mean score of the targets. The earlier one wins a tie: the choice
    must not depend on which run ended first.
    """
    fine = sorted((r for r in trials if r.ok), key=lambda r: r.trial or 0)
    return max(fine, key=lambda r: r.target_score, default=None)


@dataclass(frozen=True)
class Draw:
    """One point of the sequence in a recipe's own ranges."""

    parameters: Any
    """The recipe's parameters, as the suite would give them."""
    drawn: dict[str, Any]
    """What was open and is now set, by dotted name such as lr or 1.dpo.beta."""


def draws(recipe: Resolved, trials: int, seed: int) -> list[Draw]:
    """The hyper-parameters that the suite does not set, drawn `trials` times; empty where there is
    nothing to draw.

    Points are those of a scrambled Halton sequence (Owen 2017, 1706.02808), whose first coordinates
    do not depend on how many there are: every recipe has the same points, each cut to as many
    coordinates as the recipe has ranges. What a method refuses is drawn again, with the same
    learning rates: `UserError` where it refuses all.
    """
    from scipy.stats import qmc

    found = list(ranges(recipe))
    if not found:
        return []
    points = qmc.Halton(d=len(found), scramble=True, rng=seed).random(trials)
    return [_accepted(recipe, found, point, [seed, trial]) for trial, point in enumerate(points)]


def _accepted(
    recipe: Resolved,
    found: Sequence[tuple[Place, Hyperparameter]],
    point: Sequence[float],
    seed: list[int],
) -> Draw:
    """The draw at a point, or near it where the method refuses that: no range of one parameter can
    say what goes with another.
    """
    import numpy as np

    chance, refused = np.random.default_rng(seed), ""
    for _ in range(TRIES):
        values = {place: _value(h, x) for (place, h), x in zip(found, point, strict=True)}
        draw = _draw(recipe.given, values)
        try:
            resolve(recipe.name, draw.parameters)
        except Mistakes as mistakes:
            refused = str(mistakes)
        else:
            return draw
        others = chance.random(len(found))
        point = [
            x if place[-1] == "lr" else other
            for (place, _), x, other in zip(found, point, others, strict=True)
        ]
    raise UserError(
        f"tuning finds nothing in the search ranges of {recipe.name} that it accepts: {refused};"
        " set one of these parameters in the suite"
    )


def left_open(recipe: Resolved) -> Any:
    """All parameters but those to be drawn, which are drawn alike when this is read again."""
    left = deepcopy(recipe.parameters)
    for place, h in ranges(recipe):
        own = _at(left, place[:-1])
        del own[place[-1]]
        if h.narrowed:
            own[place[-1]] = vars(h.range)
    return left


def ranges(recipe: Resolved, place: Place = ()) -> Iterator[tuple[Place, Hyperparameter]]:
    """Hyper-parameters with a search range that the suite does not set, part by part, the learning
    rate first. Each has its place: ("lr",), or (1, "dpo", "beta") in a part of a chain. The range
    is the suite's own where it gives one.
    """
    if isinstance(recipe.usable, Recipe):
        for number, part in enumerate(recipe.usable.parts):
            yield from ranges(part.recipe, (*place, number, part.name))
    elif recipe.usable is not None:
        found = hyperparameters(type(recipe.usable))
        fixed = recipe.given.keys() - recipe.ranges.keys()
        open = [h for h in found if h.range is not None and h.name not in fixed]
        for h in sorted(open, key=lambda h: h.name != "lr"):
            yield (*place, h.name), recipe.ranges.get(h.name, h)


def _parts(parameters: Any) -> list[Any]:
    return parameters["parts"] if isinstance(parameters, dict) else parameters


def _value(parameter: Hyperparameter, x: float) -> Any:
    """The value in a hyper-parameter's range for a coordinate 0..1."""
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


def _draw(given: Any, values: dict[Place, Any]) -> Draw:
    parameters = deepcopy(given)
    for place, value in values.items():
        _put(parameters, place, value)
    return Draw(parameters, {".".join(map(str, place)): v for place, v in values.items()})


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
