"""Tables whose cells are shaded by their value: tasks, and the way through a sequence of tasks."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis import Sequence
from bench.analysis.rows import Row
from bench.records.schema import BASE
from bench.report.html.metrics import metric
from bench.report.html.words import signed

DIRECTIONS = {
    "average_accuracy": "higher",
    "backward_transfer": "higher",
    "forward_transfer": "higher",
    "forgetting": "lower",
}


@dataclass(frozen=True)
class Shade:
    """A cell: its text, a second line, and how dark it is, 0..1; nothing where there is no number."""

    text: str
    below: str = ""
    depth: float | None = None


@dataclass(frozen=True)
class Heat:
    """A shaded table."""

    columns: list[tuple[str, str]]
    """Name and role of each."""
    lines: list[tuple[str, list[Shade]]]


def tasks(rows: list[Row]) -> Heat | None:
    """Accuracy on every task, and the change against the base; nothing where only the mean over
    targets is known.
    """
    retained = [
        name
        for name in _found(rows, "score")
        if any(f"forgetting[{name}]" in row.means for row in rows)
    ]
    targets = [name for name in _found(rows, "score") if name not in retained]
    if not retained and not targets:
        return None
    base = next((row for row in rows if row.recipe == BASE), None)
    names = [f"score[{task}]" for task in targets] or ["target_accuracy"]
    columns = [*((task, "target") for task in targets)] or [("target", "mean over targets")]
    columns += [(task, "retained") for task in retained]
    names += [f"score[{task}]" for task in retained]
    lines = [(row.recipe, [_shade(row, name, base) for name in names]) for row in rows]
    return Heat(columns, lines)


def _found(rows: list[Row], what: str) -> list[str]:
    return list(
        dict.fromkeys(
            c[len(what) + 1 : -1] for row in rows for c in row.means if c.startswith(f"{what}[")
        )
    )


def _shade(row: Row, name: str, base: Row | None) -> Shade:
    if (value := row.means.get(name)) is None:
        return Shade(
            row.missing.get(name)
            or row.missing.get("forgetting")
            or (row.status if row.status != "ok" else "not measured")
        )
    change = ""
    if base is not None and base is not row and name in base.means:
        change = _plus(100 * (value - base.means[name]))
    return Shade(metric(name).value(row), change, min(1.0, max(0.0, value)))


def _plus(points: float) -> str:
    text = signed(f"{points:+.1f}")
    return "±0" if text in ("+0.0", "0.0") else text


@dataclass(frozen=True)
class Matrix:
    """One recipe's way through the targets."""

    recipe: str
    tasks: list[str]
    targets: int
    stages: list[tuple[str, list[Shade]]]
    metrics: list[tuple[str, str, str]]
    """Name, value in points, and which way is better."""


def matrix(sequence: Sequence) -> Matrix:
    """R[i][j] with a name for every stage."""
    names = ["base", *(f"after {task}" for task in sequence.tasks)]
    stages = [
        (names[i], [Shade(f"{100 * value:.1f}", "", min(1.0, max(0.0, value))) for value in line])
        for i, line in enumerate(sequence.matrix)
    ]
    metrics = [
        (name.replace("_", " "), signed(f"{100 * value:.1f}"), DIRECTIONS.get(name, ""))
        for name, value in sequence.metrics.items()
    ]
    return Matrix(sequence.recipe, sequence.tasks, len(sequence.matrix) - 1, stages, metrics)
