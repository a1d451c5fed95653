"""Tuning, recipe by recipe: what each draw of hyper-parameters gave, and what tuning changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bench.analysis import Trial
from bench.analysis.columns import named
from bench.analysis.rows import Row
from bench.analysis.words import listed, percent
from bench.report.html.charts import Chart, Key, vega
from bench.report.html.families import CIRCLE, SHAPES

ACCURACY = "target_accuracy"
KEYS = (Key("default", "var(--dim)", CIRCLE), Key("tuned", "var(--accent)", SHAPES[3]))
WIDE = 20.0
"""A hyper-parameter whose greatest draw is so many times its smallest is shown on a logarithmic
axis.
"""


def draws(trials: list[Trial], parameter: str, id: str) -> Chart | None:
    """Score over one hyper-parameter of one recipe, the chosen draw as a diamond."""
    shown = [t for t in trials if t.score is not None and parameter in t.drawn]
    if not shown:
        return None
    raw = [t.drawn[parameter] for t in shown]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in raw)
    values = [
        {
            "value": value if numeric else str(value),
            "text": f"{value:.3g}" if numeric else str(value),
            "score": 100 * (t.score or 0.0),
            "number": t.number,
            "chosen": t.chosen,
        }
        for t, value in zip(shown, raw, strict=True)
    ]
    kind = _axis(parameter, raw) if numeric else "names"
    ticks = _decades(raw) if kind == "logarithmic" else []
    spec = vega("draws", values=values, parameter=parameter, kind=kind, ticks=ticks)
    return Chart(id, spec, _told(shown, parameter))


def _told(shown: list[Trial], parameter: str) -> str:
    scores = [100 * (t.score or 0.0) for t in shown]
    best = next((t for t in shown if t.chosen), None)
    chosen = (
        f"; chosen: {best.drawn[parameter]} with {100 * (best.score or 0.0):.1f}%" if best else ""
    )
    return (
        f"Validation accuracy of {len(shown)} draws over {parameter}, {min(scores):.0f} to"
        f" {max(scores):.0f}%{chosen}."
    )


def _axis(parameter: str, numbers: list[float]) -> str:
    """Logarithmic for learning rates and wide ranges."""
    rate = parameter.rsplit(".", maxsplit=1)[-1] == "lr"
    wide = min(numbers) > 0 and (rate or max(numbers) / min(numbers) >= WIDE)
    return "logarithmic" if wide else "linear"


def _decades(numbers: list[float]) -> list[float]:
    """Powers of ten within the draws, or the ends where there are no two."""
    low, high = min(numbers), max(numbers)
    powers = [10.0**k for k in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    return powers if len(powers) > 1 else [low, high]


def changes(rows: list[Row], id: str) -> Chart | None:
    """Target accuracy with default hyper-parameters and with tuned ones, a line from one to the
    other.
    """
    by_name = {row.recipe: row for row in rows if ACCURACY in row.means}
    pairs = [
        (by_name[row.tuned_from], row) for row in by_name.values() if row.tuned_from in by_name
    ]
    if not pairs:
        return None
    pairs.sort(key=lambda pair: -pair[1].means[ACCURACY])
    accuracy = named(ACCURACY)
    told = [
        f"{before.recipe} from {accuracy.value(before)} to {accuracy.value(after)}"
        for before, after in pairs
    ]
    spec = vega(
        "changes",
        values=[value for pair in pairs for value in _ends(*pair)],
        recipes=[before.recipe for before, _ in pairs],
        keys=KEYS,
    )
    alt = f"Target accuracy in % with default and with tuned hyper-parameters: {listed(told, 12)}."
    return Chart(id, spec, alt, legend=KEYS)


def _ends(before: Row, after: Row) -> list[dict[str, Any]]:
    """The two points of one line."""
    accuracy = named(ACCURACY)
    made = []
    for key, row in zip(KEYS, (before, after), strict=True):
        low, high = accuracy.bounds(row)
        made.append(
            {
                "recipe": before.recipe,
                "from": 100 * before.means[ACCURACY],
                "to": 100 * after.means[ACCURACY],
                "kind": key.name,
                "x": 100 * row.means[ACCURACY],
                "low": low,
                "high": high,
                "text": f"{accuracy.text(row)} %",
            }
        )
    return made


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
