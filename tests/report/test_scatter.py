"""The picture beside the table: a reader must see which point a name belongs to."""

from __future__ import annotations

import re
import shutil
from itertools import combinations
from pathlib import Path

import pytest

from ..conftest import ROOT, Bench

WIDTH, LINE, NEAR = 5.0, 11.0, 60.0
"""Pixels: of a narrow letter, of its height, and from a point to its name at most."""
MARK = re.compile(
    r'aria-label="[^"]*recipe: ([^;"]+)[^>]*aria-roledescription="(point|text mark)"'
    r'(?: text-anchor="(\w+)")? transform="translate\(([\d.]+),([\d.]+)\)"'
)
Place = tuple[float, float]


def _drawn(svg: str) -> tuple[dict[str, Place], dict[str, tuple[float, float, float]]]:
    """Where each point is, and of each name both ends and the height, in pixels."""
    points: dict[str, Place] = {}
    names: dict[str, tuple[float, float, float]] = {}
    for recipe, kind, anchor, x, y in MARK.findall(svg):
        if kind == "point":
            points[recipe] = float(x), float(y)
        else:
            ends = sorted((float(x), float(x) + WIDTH * len(recipe) * (-1) ** (anchor == "end")))
            names[recipe] = ends[0], ends[1], float(y) - LINE / 3
    return points, names


@pytest.mark.parametrize("suite", ["sentiment", "science", "sentiment-reward"])
def test_a_name_is_near_its_point_and_covers_nothing(
    suite: str, tmp_path: Path, bench: Bench
) -> None:
    results = tmp_path / suite
    shutil.copytree(ROOT / "results/smollm2" / suite, results)
    (results / "report/learning-forgetting.svg").unlink()
    assert bench("report", results).returncode == 0
    points, names = _drawn((results / "report/learning-forgetting.svg").read_text())
    assert len(points) > 6 and 2 < len(names) <= len(points)
    for recipe, (start, end, height) in names.items():
        x, y = points[recipe]
        assert abs(height - y) < NEAR and min(abs(start - x), abs(end - x)) < 15, recipe
        covered = [n for n, (a, b) in points.items() if start < a < end and abs(b - height) < 8]
        assert not covered, (recipe, covered)
    for (one, a), (other, b) in combinations(names.items(), 2):
        assert a[1] < b[0] or b[1] < a[0] or abs(a[2] - b[2]) >= LINE, (one, other)
