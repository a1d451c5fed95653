"""The report's own weak spots: marks on rows, and sentences that say where not to trust the table."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.groups import Member
from bench.analysis.headline import listed
from bench.analysis.rows import Row
from bench.analysis.shape import Group, Trial
from bench.records.schema import BASE, Purpose, Record

ONE_SEED, UNTUNED, UNVERIFIED, OVERSPENT = "one seed", "untuned", "not verified", "over budget"
CEILING = 0.99
UNSTABLE = 0.1  # standard deviation of accuracy between seeds
UNEVEN = 0.2  # standard deviation of a speed between seeds, over its mean
OVERRUN = 1.03  # of the budget: one last batch is no news


def mark(found: list[Member]) -> None:
    """Put on each row, in a few words, what weakens it."""
    for member in found:
        row, first = member.row, member.records[0]
        if row.recipe == BASE:
            continue
        currency, amount = row.budget
        marks = {
            ONE_SEED: row.seeds == 1,
            f"{row.seeds} of {len(member.records)} seeds": 0 < row.seeds < len(member.records),
            UNTUNED: not row.tuned_from and not row.imported and first.tunable,
            UNVERIFIED: not row.imported and not first.verified,
            OVERSPENT: row.means.get(f"spent_{currency}", 0.0) > OVERRUN * amount,
        }
        row.marks += [name for name, holds in marks.items() if holds]


def sentences(
    groups: Sequence[Group], records: Sequence[Record], trials: Sequence[Trial], missing: int
) -> list[str]:
    """Where not to trust these numbers, the gravest first."""
    rows = [row for group in groups for row in group.rows if row.recipe != BASE]
    trained = [row for row in rows if row.means]
    told = []
    if missing:
        told.append(f"{missing} of the runs that the suite asks for are not there yet.")
    failed = [row.recipe for row in rows if row.status not in ("ok", "skipped")]
    if failed:
        told.append(
            f"Runs of {listed(failed)} ended otherwise than ok; what they would have scored is not"
            " known."
        )
    if len(groups) > 1:
        told.append(
            f"The rows fall into {len(groups)} tables that are not to be compared with one another."
        )
    if single := [row for row in trained if ONE_SEED in row.marks]:
        told.append(
            f"{_count(single, trained)} on one seed: their intervals and letters know how items"
            " vary, and nothing of how seeds do."
        )
    if untuned := [row for row in trained if UNTUNED in row.marks]:
        told.append(
            f"{_count(untuned, trained)} on settings that no search of equal size chose: a"
            " difference may be one of settings."
        )
    if unverified := [row.recipe for row in trained if UNVERIFIED in row.marks]:
        told.append(
            f"How {listed(unverified)} was verified to do what its paper says, nobody has written"
            " down."
        )
    if overspent := [row.recipe for row in trained if OVERSPENT in row.marks]:
        told.append(
            f"{listed(overspent)} spent more than {100 * (OVERRUN - 1):.0f}% above the budget."
        )
    if (
        top := [row for row in trained if row.means.get("target_accuracy", 0.0) >= CEILING]
    ) and len(top) > 1:
        told.append(
            f"{len(top)} rows reach {100 * CEILING:.0f}% or more: the target is too easy to tell"
            " them apart."
        )
    if any(len(group.environments) > 1 for group in groups):
        told.append(
            "Not all rows were measured on one machine with one set of versions: speed and memory"
            " are told for each apart."
        )
    if unstable := [
        row.recipe for row in trained if row.spreads.get("target_accuracy", 0.0) > UNSTABLE
    ]:
        told.append(
            f"{listed(unstable)} scored so differently from seed to seed that more seeds are needed"
            f" to place {_them(unstable)}."
        )
    if disturbed := [row.recipe for row in trained if _uneven(row)]:
        told.append(
            f"Training speed of {listed(disturbed)} varies much between seeds: something else ran"
            " on the machine, so compare none."
        )
    if any(r.split == "validation" and r.purpose is Purpose.ROW for r in records):
        told.append(
            "Scores are on the validation split, on which choices are made: they flatter whatever"
            " was chosen on it."
        )
    if any(row.imported for row in trained):
        told.append(
            "Imported rows were measured by others; what they do not tell could not be checked."
        )
        told += _notes(records)
    told += _edges(trials)
    if any(record.git and record.git.dirty for record in records):
        told.append("Some runs started from a repository with changes that were not committed.")
    return told


def _notes(records: Sequence[Record]) -> list[str]:
    """What is to be known of imported numbers, source by source."""
    notes = [(r.imported.source, note) for r in records if r.imported for note in r.imported.notes]
    return [f"Of rows from {source}: {note}." for source, note in dict.fromkeys(notes)]


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _uneven(row: Row) -> bool:
    speed = "train_tokens_per_second"
    return row.spreads.get(speed, 0.0) > UNEVEN * row.means.get(speed, 0.0)


def _count(some: Sequence[object], all_rows: Sequence[object]) -> str:
    if len(all_rows) == 1:
        return "The row rests"
    return (
        f"All {len(all_rows)} rows rest"
        if len(some) == len(all_rows)
        else f"{len(some)} of {len(all_rows)} rows rest"
    )


def _edges(trials: Sequence[Trial]) -> list[str]:
    """Recipes whose chosen learning rate lies at an end of those that were drawn."""
    found = []
    for chosen in (t for t in trials if t.chosen):
        rates = sorted(
            {t.drawn["lr"] for t in trials if t.recipe == chosen.recipe and "lr" in t.drawn}
        )
        if len(rates) > 2 and chosen.drawn["lr"] in (rates[0], rates[-1]):
            found.append(chosen.recipe)
    said = (
        "The search chose the lowest or the highest learning rate that it drew for"
        f" {listed(found)}: a better one may lie beyond."
    )
    return [said] if found else []
