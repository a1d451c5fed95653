"""The report as a Markdown file: what the page says, for people who read it beside their code."""

from __future__ import annotations

from collections.abc import Iterable

from bench.analysis import Analysis, CurvePoint, Group, Sequence, Trial, columns
from bench.analysis.rows import Row
from bench.analysis.words import general, percent, whole
from bench.records.schema import BASE
from bench.report.table import escaped, grid, reach_of
from bench.report.table import markdown as table

NOTES = (
    (
        "In parentheses: {level:g}% confidence intervals for other items and other seeds; after ±:"
        " the standard deviation over seeds. Rows in one tie group are statistically"
        " indistinguishable in target accuracy. Recipes are compared pairwise on the same items"
        " (paired tests, Holm's correction)."
    ),
    (
        "Forgetting is accuracy lost against the base, averaged over the retained tasks."
        " right→wrong counts their items that the base answered correctly and the recipe does not;"
        " wrong→right counts the reverse. Drift is the change on plain text. Peak memory on a CPU"
        " is the resident set of the whole process, libraries included; on a GPU it is what torch"
        " allocated."
    ),
)
OBJECTIVES = (
    "What each method itself optimizes (↓ or ↑), on validation rows, before and after its stage. A"
    " method can run without learning; this shows the difference."
)
ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}


def markdown(analysis: Analysis, pictures: list[str]) -> str:
    """Headline, caveats, tables, and how they came about."""
    parts = [
        f"# {escaped(analysis.name)}",
        escaped(analysis.headline),
        _points("Caveats:", analysis.caveats),
    ]
    for number, group in enumerate(analysis.groups, 1):
        parts += _group(group, number)
    if pictures:
        parts.append(f"![Target accuracy against forgetting, one point per method]({pictures[0]})")
    if analysis.ranking:
        parts.append("## What tuning did\n\n" + "\n".join(map(escaped, analysis.ranking)))
    parts += [_trials(analysis.trials), _curve(analysis.curve)]
    parts += map(_sequence, analysis.sequences)
    parts += [note.format(level=100 * analysis.level) for note in NOTES]
    parts.append(
        _points("Provenance:", [f"{name}: {text}" for name, text in analysis.provenance.items()])
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _points(title: str, sentences: list[str]) -> str:
    return "\n".join([title, "", *(f"* {escaped(s)}" for s in sentences)]) if sentences else ""


def _group(group: Group, number: int) -> Iterable[str]:
    rows = group.rows
    if group.apart:
        yield f"## Table {number}, not comparable with the first\n\n{escaped(group.apart)}"
    yield table(rows)
    yield reach_of(group)
    for environment, elsewhere in group.elsewhere:
        yield f"Speed and memory measured with {escaped(environment)}:\n\n{table(elsewhere)}"
    if retained := columns.tasks(rows, "forgetting"):
        yield (
            "Retained tasks: accuracy in %, and items right→wrong / wrong→right against the"
            " base.\n\n"
        ) + grid(
            ["method", *retained],
            [[row.recipe, *(_kept(row, task) for task in retained)] for row in rows],
        )
    if own := [line for row in rows for line in _objectives(row)]:
        yield f"{OBJECTIVES}\n\n" + grid(["method", "stage", "objective", "before", "after"], own)
    yield "\n".join(
        f"* **{escaped(row.recipe)}**: {row.status}: {escaped(row.reason)}"
        for row in rows
        if row.reason
    )


def _trials(trials: list[Trial]) -> str:
    if not trials:
        return ""
    body = [
        [
            t.recipe,
            str(t.number),
            _drawn(t),
            t.status if t.score is None else percent(t.score),
            "chosen" if t.chosen else "–",
        ]
        for t in trials
    ]
    return "Trials, scored on validation data:\n\n" + grid(
        ["method", "trial", "drawn", "target accuracy, %", "choice"], body
    )


def _drawn(trial: Trial) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.drawn.items()
    )


def _curve(points: list[CurvePoint]) -> str:
    shares = sorted({p.share for p in points})
    if not shares:
        return ""
    found = {
        (p.recipe, p.share): f"{percent(p.mean)} ({percent(p.low)} to {percent(p.high)})"
        for p in points
    }
    body = [
        [recipe, *(found.get((recipe, share), "–") for share in shares)]
        for recipe in dict.fromkeys(p.recipe for p in points)
    ]
    return "Target accuracy, %, by share of the budget:\n\n" + grid(
        ["method", *(f"{share:.0%}" for share in shares)], body
    )


def _sequence(sequence: Sequence) -> str:
    stages = ["base", *(f"after {task}" for task in sequence.tasks[: len(sequence.matrix) - 1])]
    body = [
        [stage, *map(percent, scores)]
        for stage, scores in zip(stages, sequence.matrix, strict=True)
    ]
    return (
        f"Scores of **{escaped(sequence.recipe)}** after each target, %:\n\n"
        f"{grid(['stage', *sequence.tasks], body)}\n\n"
        + "; ".join(
            f"{column.title} {column.quantity(value)}" for column, value in sequence.columns()
        )
        + "."
    )


def _kept(row: Row, task: str) -> str:
    score = columns.named(f"score[{task}]")
    if score.name not in row.means:
        return row.missing.get("forgetting") or score.why(row)
    flips = [row.means.get(f"items_{way}[{task}]") for way in ("lost", "gained")]
    if row.recipe == BASE or None in flips:
        return score.value(row)
    return f"{score.value(row)} ({' / '.join(whole(n) for n in flips if n is not None)})"


def _objectives(row: Row) -> list[list[str]]:
    return [
        [
            row.recipe,
            f"{o.stage} {o.method}".strip(),
            o.name + ARROWS[o.better],
            general(o.before),
            general(o.after),
        ]
        for o in row.objectives
    ]
