"""What limits a report: marks on its rows, and a sentence for each caveat, from caveats.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from bench.analysis.rows import Row
from bench.analysis.shape import Group, Trial
from bench.analysis.words import listed, short
from bench.records.schema import BASE, Purpose, Record

ONE_SEED, UNTUNED, UNVERIFIED, OVERSPENT = "one seed", "untuned", "not verified", "over budget"
MOST_NAMED = 30  # rows in one sentence
CEILING = 0.99
UNSTABLE = 0.1  # standard deviation of accuracy between seeds
UNEVEN = 0.2  # standard deviation of a speed between seeds, over its mean
OVERRUN = 1.03  # of the budget: the last batch may exceed it
LONGER = 4 / 3  # than the base's answers
ALIKE = 1.1  # what a unit of the budget buys, the most over the least
UNITS = {"steps": "step", "samples": "sample"}
"""Currencies whose unit is not the same work for every recipe."""
PRICES = (("tokens", "tokens"), ("flops", "FLOPs"))
SENTENCES: dict[str, str] = yaml.safe_load(
    Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
)


def mark(rows: list[Row]) -> None:
    """Put on each row, in a few words, what weakens it."""
    for row in rows:
        first = row.records[0]
        if row.recipe == BASE:
            continue
        currency, amount = row.budget
        marks = {
            ONE_SEED: row.seeds == 1,
            f"{row.seeds} of {len(row.records)} seeds": 0 < row.seeds < len(row.records),
            UNTUNED: not row.tuned_from and not row.imported and first.tunable,
            UNVERIFIED: not row.imported and not first.verified,
            OVERSPENT: row.means.get(f"spent_{currency}", 0.0) > OVERRUN * amount,
        }
        row.marks += [name for name, holds in marks.items() if holds]


def sentences(
    groups: Sequence[Group], records: Sequence[Record], trials: Sequence[Trial], missing: int
) -> list[str]:
    """What limits these numbers, the gravest first."""
    rows = [row for group in groups for row in group.rows if row.recipe != BASE]
    trained = [row for row in rows if row.means]
    easy = sum(row.means.get("target_accuracy", 0.0) >= CEILING for row in trained)
    imported = [r.imported for r in records if r.imported]
    lost = {id(row): row.recipe for row in trained if row.gain and row.gain[1] < 0}
    notes = dict.fromkeys(f"Rows from {i.source}: {note}." for i in imported for note in i.notes)
    found: list[tuple[str, str | int | list[str]]] = [
        ("missing", missing),
        ("broken", [row.recipe for row in rows if row.status not in ("ok", "skipped")]),
        ("tables", len(groups) if len(groups) > 1 else 0),
        (ONE_SEED, _count(trained, ONE_SEED)),
        (UNTUNED, _count(trained, UNTUNED)),
        (UNVERIFIED, [row.recipe for row in trained if UNVERIFIED in row.marks]),
        *(("unequal", bought) for group in groups if (bought := _bought(group.rows))),
        (OVERSPENT, [row.recipe for row in trained if OVERSPENT in row.marks]),
        ("lost", list(lost.values())),
        ("no gain", [row.recipe for g in groups for row in no_gain(g) if id(row) not in lost]),
        ("idle", [name for row in trained for name in _idle(row)]),
        ("longer", [row.recipe for group in groups for row in _longer(group)]),
        ("too easy", easy if easy > 1 else 0),
        ("unstable", [row.recipe for row in trained if _unstable(row)]),
        ("uneven", [row.recipe for row in trained if _uneven(row)]),
        *(("concurrent", counts) for group in groups if (counts := _at_once(group))),
        ("moved", any(len(group.environments) > 1 for group in groups)),
        ("validation", any(r.split == "validation" and r.purpose is Purpose.ROW for r in records)),
        ("imported", bool(imported)),
        *(("notes", note) for note in notes),
        ("dirty", any(r.git and r.git.dirty for r in records)),
        ("edges", _edges(trials)),
    ]
    limits = {"ceiling": f"{CEILING:.0%}", "overrun": f"{OVERRUN - 1:.0%}"}
    return [
        SENTENCES[name].format(
            listed(fact, MOST_NAMED) if isinstance(fact, list) else fact, **limits
        )
        for name, fact in found
        if fact
    ]


def _count(rows: list[Row], mark: str) -> str:
    """How many of the rows bear a mark; empty where none does."""
    some = sum(mark in row.marks for row in rows)
    if not some:
        return ""
    if len(rows) == 1:
        return "The row has"
    return f"{f'All {some}' if some == len(rows) else f'{some} of {len(rows)}'} rows have"


def _bought(rows: Sequence[Row]) -> str:
    """What a unit of the budget buys, where that differs by more than a tenth; else empty."""
    for currency, unit in UNITS.items():
        own = [row for row in rows if row.budget[0] == currency and row.recipe != BASE]
        if parts := [part for of in PRICES if (part := _range(own, currency, *of))]:
            return f"A {unit} buys {' and '.join(parts)}"
    return ""


def _range(rows: list[Row], currency: str, price: str, named: str) -> str:
    """The least and the most that a unit of a currency bought, and for whom."""
    bought = sorted(
        (row.means[f"spent_{price}"] / row.means[f"spent_{currency}"], row.recipe)
        for row in rows
        if f"spent_{price}" in row.means and row.means.get(f"spent_{currency}")
    )
    if not bought or bought[-1][0] <= ALIKE * bought[0][0]:
        return ""
    (least, cheap), (most, dear) = bought[0], bought[-1]
    return f"{short(least)} ({cheap}) to {short(most)} {named} ({dear})"


def _idle(row: Row) -> list[str]:
    """Parts of a recipe whose objectives are to the last digit what they were before, in the mean
    over seeds.
    """
    moved = {o.stage for o in row.objectives if o.before != o.after}
    return [
        o.method if o.method == row.recipe else f"{o.method} in {row.recipe}"
        for o in row.objectives
        if o.better and o.stage not in moved
    ]


def no_gain(group: Group) -> list[Row]:
    """Rows whose target accuracy may be that of the base: the interval of the difference holds 0,
    and their own is not wholly above the base's. The first is too wide for a base that is always
    wrong, where nothing but a gain is possible.
    """
    accuracy = "target_accuracy"
    base = group.base
    above = base.intervals.get(accuracy, (0.0, 1.0))[1] if base else 1.0
    return [
        row
        for row in group.rows
        if row.gain and row.gain[0] <= 0 and row.intervals.get(accuracy, (0.0, 1.0))[0] <= above
    ]


def _longer(group: Group) -> list[Row]:
    """Rows whose answers are longer than the base's by more than a third."""
    length = "answer_tokens"
    base = group.base
    most = LONGER * base.means[length] if base and length in base.means else float("inf")
    return [row for row in group.rows if row.means.get(length, 0.0) > most]


def _at_once(group: Group) -> str:
    """How many runs went on at once, where that differs between the runs of a table; else empty."""
    counts = {r.concurrent_runs for row in group.rows for r in row.fine if r.concurrent_runs}
    return listed([str(count) for count in sorted(counts)]) if len(counts) > 1 else ""


def _unstable(row: Row) -> bool:
    return row.spreads.get("target_accuracy", 0.0) > UNSTABLE


def _uneven(row: Row) -> bool:
    speed = "train_tokens_per_second"
    return row.spreads.get(speed, 0.0) > UNEVEN * row.means.get(speed, 0.0)


def _edges(trials: Sequence[Trial]) -> list[str]:
    """Recipes of which a chosen learning rate is the lowest or highest that was drawn."""
    drawn: dict[tuple[str, str], set[float]] = {}
    for trial in trials:
        for name, rate in _rates(trial):
            drawn.setdefault((trial.recipe, name), set()).add(rate)
    found: dict[str, None] = {}
    for chosen in (trial for trial in trials if trial.chosen):
        for name, rate in _rates(chosen):
            others = drawn[chosen.recipe, name]
            if len(others) > 2 and rate in (min(others), max(others)):
                found[chosen.recipe] = None
    return list(found)


def _rates(trial: Trial) -> list[tuple[str, float]]:
    """Its learning rates, of which a recipe of several parts has several."""
    return [(name, rate) for name, rate in trial.drawn.items() if name.rsplit(".")[-1] == "lr"]
