"""Draws of hyper-parameters, recipe by recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.analysis import Trial
from bench.report.html.charts import Chart
from bench.report.html.charts.draws import draws


@dataclass(frozen=True)
class Search:
    """Every draw of one recipe."""

    recipe: str
    parameters: list[str]
    charts: list[Chart]
    lines: list[tuple[Trial, list[str], str]]
    """The draw, its values as text, and its score as text or the reason why there is none; the best
    first.
    """
    chosen: str
    best: str


def searches(trials: list[Trial]) -> list[Search]:
    """One search per recipe, in order of appearance."""
    recipes = list(dict.fromkeys(t.recipe for t in trials))
    return [
        _search(recipe, [t for t in trials if t.recipe == recipe], number)
        for number, recipe in enumerate(recipes)
    ]


def _search(recipe: str, trials: list[Trial], number: int) -> Search:
    parameters = list(dict.fromkeys(name for t in trials for name in t.drawn))
    made = [draws(trials, name, f"draws-{number}-{place}") for place, name in enumerate(parameters)]
    ranked = sorted(trials, key=lambda t: (t.score is None, -(t.score or 0.0), t.number))
    lines = [
        (t, [_text(t.drawn.get(name, "not drawn")) for name in parameters], _score(t))
        for t in ranked
    ]
    chosen = next((t for t in trials if t.chosen), None)
    settings = (
        ", ".join(f"{name} {_text(value)}" for name, value in chosen.drawn.items())
        if chosen
        else ""
    )
    return Search(
        recipe,
        parameters,
        [c for c in made if c],
        lines,
        settings,
        _score(chosen) if chosen else "",
    )


def _score(trial: Trial) -> str:
    return f"{100 * trial.score:.1f}" if trial.score is not None else trial.status


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
