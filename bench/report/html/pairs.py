"""Every two recipes compared: thousands of lines in a large suite, so they travel as numbers and
the page writes them out.
"""

from __future__ import annotations

from typing import Any

from bench.analysis import Group


def packed(group: Group) -> dict[str, Any]:
    """Names once, then a line per pair: places of the two names, difference and bounds in points,
    p, adjusted p, chance in %.
    """
    names = list(dict.fromkeys(name for pair in group.pairs for name in (pair.one, pair.other)))
    place = {name: number for number, name in enumerate(names)}
    lines = [
        [place[pair.one], place[pair.other]]
        + [round(100 * value, 1) for value in (pair.difference, pair.low, pair.high)]
        + [round(value, 6) for value in (pair.p, pair.adjusted)]
        + [
            (
                None
                if (chance := group.chances.get((pair.one, pair.other))) is None
                else round(100 * chance)
            )
        ]
        for pair in group.pairs
    ]
    return {"names": names, "lines": lines, "chances": bool(group.chances)}
