"""What limits a report: marks on its rows, and a sentence for each caveat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.analysis.rows import Row
from bench.analysis.shape import Group, Trial
from bench.analysis.words import listed
from bench.records.schema import BASE, Purpose, Record

ONE_SEED, UNTUNED, UNVERIFIED, OVERSPENT = "one seed", "untuned", "not verified", "over budget"
CEILING = 0.99
UNSTABLE = 0.1  # standard deviation of accuracy between seeds
UNEVEN = 0.2  # standard deviation of a speed between seeds, over its mean
OVERRUN = 1.03  # of the budget: the last batch may exceed it


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
    moved = any(len(group.environments) > 1 for group in groups)
    told = [
        f"{missing} of the suite's runs have no record yet." if missing else "",
        _naming(
            (row for row in rows if row.status not in ("ok", "skipped")),
            "Runs of {} did not end ok; their scores are unknown.",
        ),
        f"The rows form {len(groups)} tables; rows of different tables must not be compared."
        if len(groups) > 1
        else "",
        *_of_rows(trained),
        "Rows were measured on different machines or library versions: speed and memory are"
        " reported for each separately."
        if moved
        else "",
        *_of_records(records),
        _edges(trials),
    ]
    return [sentence for sentence in told if sentence]


def _of_rows(trained: list[Row]) -> list[str]:
    top = [row for row in trained if row.means.get("target_accuracy", 0.0) >= CEILING]
    return [
        _counting(
            trained,
            ONE_SEED,
            "one seed: intervals and tie groups reflect the choice of items, not of seeds.",
        ),
        _counting(
            trained,
            UNTUNED,
            "untuned hyper-parameters: a difference between methods may be one between"
            " hyper-parameters.",
        ),
        _naming(
            (row for row in trained if UNVERIFIED in row.marks),
            "For {} no check of the implementation against its paper is documented.",
        ),
        _naming(
            (row for row in trained if OVERSPENT in row.marks),
            f"{{}} exceeded the budget by more than {100 * (OVERRUN - 1):.0f}%.",
        ),
        f"{len(top)} rows reach {100 * CEILING:.0f}% or more: the target is too easy to separate"
        " them."
        if len(top) > 1
        else "",
        _naming(
            (row for row in trained if row.spreads.get("target_accuracy", 0.0) > UNSTABLE),
            "The accuracy of {} varies widely between seeds: a ranking needs more seeds.",
        ),
        _naming(
            (row for row in trained if _uneven(row)),
            "The training speed of {} varies widely between seeds, so something else probably used"
            " the machine: do not compare it.",
        ),
    ]


def _of_records(records: Sequence[Record]) -> list[str]:
    imported = [r.imported for r in records if r.imported]
    notes = dict.fromkeys(f"Rows from {i.source}: {note}." for i in imported for note in i.notes)
    return [
        "Scores are on the validation split, on which choices are made: they are optimistic for"
        " whatever was chosen on it."
        if any(r.split == "validation" and r.purpose is Purpose.ROW for r in records)
        else "",
        "Imported rows were measured by others; what they did not publish could not be checked."
        if imported
        else "",
        *notes,
        "Some runs were made with uncommitted changes in the repository."
        if any(r.git and r.git.dirty for r in records)
        else "",
    ]


def _naming(rows: Iterable[Row], sentence: str) -> str:
    """The sentence about these rows; nothing where there are none."""
    names = [row.recipe for row in rows]
    return sentence.format(listed(names)) if names else ""


def _counting(rows: list[Row], mark: str, what: str) -> str:
    """How many of the rows bear a mark, and what that means."""
    some = sum(mark in row.marks for row in rows)
    if not some:
        return ""
    if len(rows) == 1:
        return f"The row has {what}"
    return f"{f'All {some}' if some == len(rows) else f'{some} of {len(rows)}'} rows have {what}"


def _uneven(row: Row) -> bool:
    speed = "train_tokens_per_second"
    return row.spreads.get(speed, 0.0) > UNEVEN * row.means.get(speed, 0.0)


def _edges(trials: Sequence[Trial]) -> str:
    """Names recipes whose chosen learning rate is the lowest or highest that was drawn."""
    found = []
    for chosen in (t for t in trials if t.chosen):
        rates = sorted(
            {t.drawn["lr"] for t in trials if t.recipe == chosen.recipe and "lr" in t.drawn}
        )
        if len(rates) > 2 and chosen.drawn["lr"] in (rates[0], rates[-1]):
            found.append(chosen.recipe)
    return (
        f"For {listed(found)} the search chose the lowest or highest learning rate that it drew: a"
        " better one may lie beyond."
        if found
        else ""
    )
