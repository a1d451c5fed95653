"""The main table: the base first, and each tuned row beside its default."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis import columns
from bench.analysis.columns import Column
from bench.analysis.rows import Row
from bench.records.schema import BASE


@dataclass(frozen=True)
class Grid:
    """The table of one group."""

    id: str
    rows: list[Row]
    columns: list[Column]
    pairs: dict[str, str]
    """The default row of each recipe's pair, or itself: what is kept together."""
    everywhere: list[str]
    """Marks of every trained row: shown once below the table instead of in each line."""
    remarks: bool
    """Whether any line has a remark."""
    ids: dict[str, str]
    """Of each recipe's line, for links."""


def grid(group_rows: list[Row], number: int) -> Grid:
    """The table of a group, the base first, a tuned row right after its default."""
    known = {row.recipe for row in group_rows}
    pairs = {
        row.recipe: row.tuned_from if row.tuned_from in known else row.recipe for row in group_rows
    }
    rows = _ordered(group_rows, pairs)
    trained = [row for row in rows if row.recipe != BASE and row.means]
    first = trained[0].marks if len(trained) > 1 else []
    measured = columns.measured(rows)
    everywhere = [mark for mark in first if all(mark in row.marks for row in trained)]
    return Grid(
        id=f"table-{number}",
        rows=rows,
        columns=[c for c in measured if not c.task and not c.name.startswith("spent_")],
        pairs=pairs,
        everywhere=everywhere,
        remarks=any(
            row.imported or row.status != "ok" or set(row.marks) - set(everywhere) for row in rows
        ),
        ids={row.recipe: f"row-{number}-{place}" for place, row in enumerate(rows)},
    )


def _ordered(rows: list[Row], pairs: dict[str, str]) -> list[Row]:
    """In the order given, but the base first and each tuned row right after its default."""
    ranked = sorted(rows, key=lambda row: row.recipe != BASE)
    place: dict[str, int] = {}
    for number, row in enumerate(ranked):
        place.setdefault(pairs[row.recipe], number)
    return sorted(ranked, key=lambda row: (place[pairs[row.recipe]], row.tuned_from is not None))
