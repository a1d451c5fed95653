"""The part of a large analysis that a person reads: its best rows. table.csv has all of them."""

from __future__ import annotations

from dataclasses import replace

from bench.analysis import Analysis, Group

MOST_ROWS = 200


def cut(analysis: Analysis, most: int = MOST_ROWS) -> Analysis:
    """The analysis with the first rows of each table, so many in all, and with what is said of
    these recipes alone. Rows come by target accuracy, the base first.
    """
    if len(analysis.rows) <= most:
        return analysis
    groups, left = [], most
    for group in analysis.groups:
        if left > 0:
            groups.append(_cut(group, left))
            left -= len(groups[-1].rows)
    shown = {row.recipe for group in groups for row in group.rows}
    shown |= {row.tuned_from or row.recipe for group in groups for row in group.rows}
    return replace(
        analysis,
        groups=groups,
        trials=[trial for trial in analysis.trials if trial.recipe in shown],
        curve=[point for point in analysis.curve if point.recipe in shown],
        sequences=[sequence for sequence in analysis.sequences if sequence.recipe in shown],
        left_out=len(analysis.rows) - sum(len(group.rows) for group in groups),
    )


def told(analysis: Analysis) -> str:
    """That rows are left out, and where they are; empty where none is."""
    if not analysis.left_out:
        return ""
    shown = len(analysis.rows)
    return (
        f"The {shown:,} rows with the highest target accuracy are shown, of"
        f" {shown + analysis.left_out:,}. table.csv has all of them."
    )


def _cut(group: Group, most: int) -> Group:
    rows = group.rows[:most]
    shown = {row.recipe for row in rows}
    pairs = [pair for pair in group.pairs if pair.one in shown and pair.other in shown]
    return replace(
        group,
        rows=rows,
        pairs=pairs,
        chances={k: v for k, v in group.chances.items() if shown.issuperset(k)},
        elsewhere=[
            (place, [row for row in own if row.recipe in shown]) for place, own in group.elsewhere
        ],
    )
