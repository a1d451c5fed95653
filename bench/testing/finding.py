"""Lines of the checklist, and the one that needs no training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bench.methods.method import Merger, Method
from bench.methods.search_space import LogRange, Range, hyperparameters


@dataclass(frozen=True)
class Finding:
    """One line of the checklist."""

    what: str
    ok: bool
    detail: str = ""


def sound_hyperparameters(kind: type[Method] | type[Merger]) -> Finding:
    """Defaults lie in their ranges, and nonsense is refused."""
    every = hyperparameters(kind)
    numeric = [h for h in every if isinstance(h.range, Range)]
    wrong = [f"{h.name} has no default" for h in every if h.required]
    wrong += [
        f"{h.name} = {h.default} lies outside of {h.range}"
        for h in every
        if isinstance(h.range, Range)
        and h.default is not None
        and not h.range.low <= h.default <= h.range.high
    ]
    nonsense: list[dict[str, Any]] = [{"no_such_parameter": 1}]
    nonsense += [{h.name: math.nan} for h in numeric]
    nonsense += [{h.name: -1.0} for h in numeric if isinstance(h.range, LogRange)]
    wrong += [f"{given} is accepted" for given in nonsense if _accepts(kind, given)]
    return Finding(
        "hyper-parameters have sound defaults and are validated", not wrong, "; ".join(wrong)
    )


def _accepts(kind: type[Method] | type[Merger], given: dict[str, Any]) -> bool:
    try:
        kind.model_validate(given)
    except ValidationError:
        return False
    return True
