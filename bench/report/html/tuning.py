"""Draws of hyper-parameters, recipe by recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.analysis import Trial
from bench.analysis.words import percent
from bench.report.html.charts import Chart
from bench.report.html.charts.draws import draws


@dataclass(frozen=True)
class Search:
    """Every draw of one recipe, the best first."""

    recipe: str
    parameters: list[str]
    charts: list[Chart]
    trials: list[Trial]

    @property
    def chosen(self) -> Trial | None:
        return next((trial for trial in self.trials if trial.chosen), None)


def searches(trials: list[Trial]) -> list[Search]:
    """One search per recipe, in order of appearance."""
    recipes: dict[str, list[Trial]] = {}
    for trial in trials:
        recipes.setdefault(trial.recipe, []).append(trial)
    made = []
    for number, (recipe, own) in enumerate(recipes.items()):
        names = list(dict.fromkeys(name for t in own for name in t.drawn))
        charts = [draws(own, name, f"draws-{number}-{n}") for n, name in enumerate(names)]
        ranked = sorted(own, key=lambda t: (t.score is None, -(t.score or 0.0), t.number))
        made.append(Search(recipe, names, [chart for chart in charts if chart], ranked))
    return made


def score(trial: Trial) -> str:
    """The score in %, or why there is none."""
    return trial.status if trial.score is None else percent(trial.score)


def drawn(value: Any) -> str:
    """A hyper-parameter as text."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
