"""The report as a Markdown file: what the page tells, for people who read it beside their code."""

from __future__ import annotations

from bench.analysis import CurvePoint, Findings, Group, Sequence, Trial
from bench.analysis.rows import Row
from bench.records.schema import BASE
from bench.report.table import escaped, grid, header, lines, minus, percent, reach_of

NOTES = (
    (
        "Values in parentheses are bounds of {level:g}% confidence intervals over other items and"
        " other seeds; values with ± are mean and standard deviation over seeds. Rows that share a"
        " letter are not known to differ in target accuracy: every two methods are compared on the"
        " same items and corrected for the number of comparisons (Holm)."
    ),
    (
        "Forgetting is accuracy lost against the base, averaged over the retained tasks; items lost"
        " were right before and are wrong now, items gained the reverse. Drift is the change on"
        " plain text. Peak memory on a CPU is the resident set of the whole process, libraries"
        " included; on a GPU it is what torch allocated."
    ),
)
OBJECTIVES = (
    "What each method itself optimises, on validation rows, before and after its stage: it tells a"
    " method that ran from one that worked."
)
ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}


def markdown(findings: Findings, pictures: list[str]) -> str:
    """Headline, weak spots, tables, and how they came about."""
    parts = [
        f"# {escaped(findings.name)}",
        escaped(findings.headline),
        _points("Where not to trust this:", findings.weaknesses),
    ]
    for number, group in enumerate(findings.groups, 1):
        parts += _group(group, number)
    if pictures:
        parts.append(f"![Target accuracy against forgetting, one point per method]({pictures[0]})")
    parts += [
        _ranking(findings),
        _trials(findings.trials),
        _curve(findings.curve),
        *(_sequence(s) for s in findings.sequences),
    ]
    parts += [note.format(level=100 * findings.level) for note in NOTES]
    parts.append(
        _points("Provenance:", [f"{name}: {text}" for name, text in findings.provenance.items()])
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _points(title: str, sentences: list[str]) -> str:
    return "\n".join([title, "", *(f"* {escaped(s)}" for s in sentences)]) if sentences else ""


def _group(group: Group, number: int) -> list[str]:
    rows = group.rows
    parts = [
        f"## Table {number}, apart because\n\n{escaped(group.apart)}" if group.apart else "",
        grid(header(rows), lines(rows)),
    ]
    if reach := reach_of(group):
        parts.append(reach)
    for environment, elsewhere in group.elsewhere:
        parts.append(
            f"Speed and memory measured with {escaped(environment)}:\n\n"
            + grid(header(elsewhere), lines(elsewhere))
        )
    if retained := retained_tasks(rows):
        parts.append(
            "Retained tasks: accuracy in %, and items lost / gained against the base.\n\n"
            + grid(*_retained(rows, retained))
        )
    if own := [row for row in rows if row.objectives]:
        parts.append(
            OBJECTIVES
            + "\n\n"
            + grid(["method", "stage", "objective", "before", "after"], _objectives(own))
        )
    if reasons := [row for row in rows if row.reason]:
        parts.append(
            "\n".join(
                f"* **{escaped(row.recipe)}**: {row.status}: {escaped(row.reason or '')}"
                for row in reasons
            )
        )
    return parts


def _ranking(findings: Findings) -> str:
    return (
        "## What tuning did\n\n" + "\n".join(map(escaped, findings.ranking))
        if findings.ranking
        else ""
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
    metrics = "; ".join(
        f"{name.replace('_', ' ')} {minus(percent(value))}"
        for name, value in sequence.metrics.items()
    )
    table = grid(["stage", *sequence.tasks], body)
    return (
        f"Scores of **{escaped(sequence.recipe)}** after each target, %:\n\n{table}\n\nIn points:"
        f" {metrics}."
    )


def retained_tasks(found: list[Row]) -> list[str]:
    return list(
        dict.fromkeys(
            c[len("score[") : -1] for row in found for c in row.means if c.startswith("score[")
        )
    )


def _retained(found: list[Row], tasks: list[str]) -> tuple[list[str], list[list[str]]]:
    return ["method", *tasks], [
        [row.recipe, *(_kept(row, task) for task in tasks)] for row in found
    ]


def _kept(row: Row, task: str) -> str:
    if (score := row.means.get(f"score[{task}]")) is None:
        return row.missing.get("forgetting", row.status)
    lost, gained = (row.means.get(f"items_{way}[{task}]") for way in ("lost", "gained"))
    flips = (
        ""
        if row.recipe == BASE or lost is None or gained is None
        else f" (−{lost:.0f} / +{gained:.0f})"
    )
    return percent(score) + flips


def _objectives(found: list[Row]) -> list[list[str]]:
    """A line for every number that a stage watches; an arrow marks the one that it strives for, and
    where to.
    """
    return [
        [
            row.recipe,
            " ".join((o.stage, o.method)).strip(),
            o.name + ARROWS[o.better],
            f"{o.before:.4g}",
            f"{o.after:.4g}",
        ]
        for row in found
        for o in row.objectives
    ]
