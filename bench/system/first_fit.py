"""Lengths in as few rows as first-fit-decreasing finds."""

from __future__ import annotations

from collections.abc import Sequence


def first_fit(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Numbers of the lengths in each row of so much room: the longest first, each in the first row
    that has room for it.
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        fitting = (row for row, left in enumerate(free) if left >= lengths[number])
        if (row := next(fitting, None)) is None:
            row = len(rows)
            rows.append([])
            free.append(room)
        rows[row].append(number)
        free[row] -= lengths[number]
    return rows
