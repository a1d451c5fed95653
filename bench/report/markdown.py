"""The report as a Markdown file: what the page says, for people who read it beside their code."""

from __future__ import annotations

import re
from typing import Literal

from bench.analysis import Analysis, CurvePoint, Sequence, Trial, columns
from bench.analysis.rows import Row
from bench.analysis.statistics import Estimate
from bench.analysis.words import general, minus, percent, whole
from bench.records.schema import BASE
from bench.report import table
from bench.report.cut import told
from bench.report.template import filled

ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}


def markdown(analysis: Analysis, pictures: list[str]) -> str:
    """Headline, caveats, tables, and how they came about."""
    text = filled(
        "bench.report",
        "table.md",
        analysis=analysis,
        pictures=pictures,
        escaped=table.escaped,
        grid=table.grid,
        table=table.markdown,
        reach_of=table.reach_of,
        left_out=told(analysis),
        tasks=columns.tasks,
        kept=_kept,
        others=_others,
        objectives=_objectives,
        trials=_trials,
        by_share=_by_share,
        stages=_stages,
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _trials(trials: list[Trial]) -> list[list[str]]:
    return [
        [
            t.recipe,
            str(t.number),
            _drawn(t),
            t.status if t.score is None else percent(t.score),
            "chosen" if t.chosen else "–",
        ]
        for t in trials
    ]


def _drawn(trial: Trial) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.drawn.items()
    )


def _by_share(points: list[CurvePoint], what: Literal["accuracy", "forgetting"]) -> str:
    found: dict[tuple[str, float], Estimate] = {
        (p.recipe, p.share): estimate for p in points if (estimate := getattr(p, what))
    }
    told = {
        place: minus(f"{percent(e.value)} ({percent(e.low)} to {percent(e.high)})")
        for place, e in found.items()
    }
    shares = sorted({share for _, share in told})
    body = [
        [recipe, *(told.get((recipe, share), "–") for share in shares)]
        for recipe in dict.fromkeys(recipe for recipe, _ in told)
    ]
    return table.grid(["method", *(f"{100 * share:g}%" for share in shares)], body)


def _stages(sequence: Sequence) -> list[list[str]]:
    stages = ["base", *(f"after {task}" for task in sequence.tasks)]
    return [
        [stage, *map(percent, scores)]
        for stage, scores in zip(stages, sequence.matrix, strict=False)
    ]


def _kept(rows: list[Row], retained: list[str]) -> list[list[str]]:
    return [[row.recipe, *(_kept_of(row, task) for task in retained)] for row in rows]


def _others(rows: list[Row], tasks: list[str]) -> list[list[str]]:
    found = [columns.named(f"measured[{task}]") for task in tasks]
    return [
        [row.recipe, *(c.value(row) if c.name in row.means else c.why(row) for c in found)]
        for row in rows
    ]


def _kept_of(row: Row, task: str) -> str:
    score = columns.named(f"score[{task}]")
    if score.name not in row.means:
        return row.missing.get("forgetting") or score.why(row)
    flips = [row.means.get(f"items_{way}[{task}]") for way in ("lost", "gained")]
    if row.recipe == BASE or None in flips:
        return score.value(row)
    return f"{score.value(row)} ({' / '.join(whole(n) for n in flips if n is not None)})"


def _objectives(rows: list[Row]) -> list[list[str]]:
    return [
        [
            row.recipe,
            f"{o.stage} {o.method}".strip(),
            o.name + ARROWS[o.better],
            general(o.before),
            general(o.after),
        ]
        for row in rows
        for o in row.objectives
    ]
