"""Which rows fit what a reader has, and which of them are best: the numbers that the page works
with, and how each row can be had again.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.analysis import Group
from bench.analysis.again import Again
from bench.analysis.columns import Column, named
from bench.analysis.rows import Row
from bench.analysis.statistics import Comparison
from bench.records.schema import BASE

ACCURACY = "target_accuracy"
LIMITS = (
    ("peak_train_bytes", "memory", "GiB", 2.0**30),
    ("train_seconds", "training", "minutes", 60.0),
    ("artifact_bytes", "storage", "MiB", 2.0**20),
    ("forgetting", "forgetting", "points", 0.01),
)
"""What a reader may limit: the column, what the field is called, its unit, and the unit's size in
that of the column.
"""
MOST_PAIRS = 50_000
"""With more, the page keeps the tie groups of the whole table."""


@dataclass(frozen=True)
class Line:
    """One row of the table as it stands without JavaScript."""

    row: Row
    cells: list[tuple[str, float | None]]
    """Text and value: accuracy, then each limit."""
    origin: str
    command: str


@dataclass(frozen=True)
class Chooser:
    """One group of rows to choose from."""

    lines: list[Line]
    limits: list[tuple[str, str, str]]
    """Column, name and unit of each limit that some row can be held to."""
    targets: list[str]
    retained: list[str]
    numbers: dict[str, Any]
    """What the page's script reads."""


def chooser(group: Group, suite_file: str, level: float, again: dict[str, Again]) -> Chooser | None:
    """None where fewer than two trained rows have a target accuracy."""
    rows = [row for row in group.rows if row.recipe != BASE and ACCURACY in row.means]
    if len(rows) < 2:
        return None
    limits = [limit for limit in LIMITS if any(limit[0] in row.means for row in rows)]
    targets, retained = _tasks(rows)
    shown = [(named(ACCURACY), "", 1.0), *((named(n), u, size) for n, _, u, size in limits)]
    lines = [
        Line(
            row,
            [_cell(row, *one) for one in shown],
            origin(row, again.get(row.recipe)),
            command(row, suite_file),
        )
        for row in rows
    ]
    names = [row.recipe for row in rows]
    numbers = {
        "names": names,
        "level": 1 - level,
        "base": next(
            (row.means[ACCURACY] for row in group.rows if row.recipe == BASE and row.means), None
        ),
        "limits": [
            {
                "name": name,
                "title": title,
                "unit": unit,
                "values": [_in(row, name, size) for row in rows],
            }
            for name, title, unit, size in limits
        ],
        "whole": [row.means[ACCURACY] for row in rows],
        "letters": [row.tie_groups for row in rows],
        "bounds": [row.intervals.get(ACCURACY) for row in rows],
        "scores": {task: [_score(row, task) for row in rows] for task in targets},
        "lost": {task: [row.means.get(f"forgetting[{task}]") for row in rows] for task in retained},
        "compared": {
            " ".join(str(targets.index(task)) for task in tasks): _compared(found, names)
            for tasks, found in group.compared.items()
            if set(tasks) <= set(targets) and len(found.pairs) <= MOST_PAIRS
        },
    }
    return Chooser(lines, [limit[:3] for limit in limits], targets, retained, numbers)


def _tasks(rows: list[Row]) -> tuple[list[str], list[str]]:
    """Targets, and retained tasks, that every row was scored on."""
    records = [row.records[0] for row in rows if row.records]
    if len(records) < len(rows):
        return [], []
    return _same([r.target for r in records]), _same([r.retain for r in records])


def _same(lists: list[list[str]]) -> list[str]:
    return lists[0] if all(one == lists[0] for one in lists) else []


def _score(row: Row, task: str) -> float | None:
    found = [record.scores[task].value for record in row.fine if task in record.scores]
    return fmean(found) if found else None


def _in(row: Row, name: str, size: float) -> float | None:
    return row.means[name] / size if name in row.means else None


def _cell(row: Row, column: Column, unit: str, size: float) -> tuple[str, float | None]:
    if column.name not in row.means:
        return column.why(row), None
    if unit in ("", "points"):
        return column.text(row), row.means[column.name] / size
    value = row.means[column.name] / size
    return f"{value:,.3g}" if value < 100 else f"{value:,.0f}", value


def _compared(found: Comparison, names: list[str]) -> dict[str, Any]:
    """p before correction for every two rows, in the order of `names`, and each row's interval."""
    known = {frozenset((pair.one, pair.other)): pair.p for pair in found.pairs}
    ends = {name: estimate.bounds for name, estimate in found.accuracies.items()}
    pairs = ((one, other) for i, one in enumerate(names) for other in names[i + 1 :])
    return {
        "p": [known.get(frozenset(pair)) for pair in pairs],
        "bounds": [ends.get(name) for name in names],
    }


def origin(row: Row, again: Again | None = None) -> str:
    """Where a row's numbers come from, in plain words."""
    if row.imported:
        if row.answered:
            return f"imported from {row.imported} with the outcome of every item"
        return f"claimed: {row.imported} published the score, and no outcomes to check it by"
    seeds = f"{row.seeds} seed" + ("s" if row.seeds != 1 else "")
    commits = dict.fromkeys(record.git.short for record in row.fine if record.git)
    days = sorted(record.finished_at[:10] for record in row.fine if record.finished_at)
    parts = [f"measured here, {seeds}"]
    parts += [f"commit {', '.join(commits)}"] if commits else []
    parts += [days[-1]] if days else []
    parts += [again.told()] if again else []
    return ", ".join(parts)


def command(row: Row, suite_file: str) -> str:
    """What trains and scores a row again; empty where others measured it."""
    if row.imported:
        return ""
    name = row.tuned_from or row.recipe
    words = ["bench", "run", suite_file, "--only", name, "--results", "again"]
    return shlex.join(words)
