"""What the published records say, where once it was said wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bench.analysis.analyze import analyze
from bench.analysis.frame import frame
from bench.analysis.rows import Row
from bench.analysis.shape import Analysis
from bench.records.store import Store

RESULTS = Path(__file__).resolve().parents[2] / "results"


@cache
def analysis(name: str) -> Analysis:
    return analyze(Store(RESULTS / name))


def caveats(name: str, words: str) -> Iterator[str]:
    return (caveat for caveat in analysis(name).caveats if words in caveat)


@pytest.mark.parametrize("name", ["sequence", "forgetting"])
def test_objectives_stand_in_the_order_of_training(name: str) -> None:
    table = frame(analysis(name).rows).set_index("recipe")
    trained = [row for row in analysis(name).rows if row.objectives]
    assert trained
    for row in trained:
        looks = row.fine[0].train.objective if row.fine[0].train else []
        stages = list(dict.fromkeys(look.stage for look in looks))
        assert list(dict.fromkeys(o.stage for o in row.objectives)) == stages
        last = [o for o in row.objectives if o.stage == stages[-1] and o.better]
        assert table.loc[row.recipe, "objective_after"] in [o.after for o in last]


def test_a_search_at_its_edge_is_told_of_chains_too() -> None:
    (told,) = caveats("preference", "lowest or highest learning rate")
    assert "sft+dpo" in told and "sft+grpo" in told
    (told,) = caveats("smollm2/domain", "lowest or highest learning rate")
    assert "dapt+tapt+sft" in told


def test_no_row_lies_above_the_base_and_gained_nothing() -> None:
    for name in ("sequence", "peft", "smollm2/sentiment"):
        for group in analysis(name).groups:
            base = next(row for row in group.rows if row.recipe == "base")
            named = " ".join(caveats(name, "did not raise target accuracy")).replace(",", " ")
            for row in group.rows:
                low = row.intervals.get("target_accuracy", (0.0, 0.0))[0]
                if low > base.intervals["target_accuracy"][1]:
                    assert row.recipe not in named.split(" did not ")[0].split()


def test_a_row_below_the_base_is_told_as_such() -> None:
    (told,) = caveats("smollm2/alignment", "lowered target accuracy below")
    (others,) = caveats("smollm2/alignment", "did not raise target accuracy")
    (group,) = analysis("smollm2/alignment").groups
    below = [row.recipe for row in group.rows if row.gain and row.gain[1] < 0]
    above = [row.recipe for row in group.rows if row.gain and row.gain[0] > 0]
    assert below and above
    assert [r.recipe for r in group.rows if f"{r.recipe} " in told.partition("lowered")[0]] == below
    assert not [recipe for recipe in (*below, *above) if f"{recipe} " in others]


def test_runs_at_once_are_told_where_they_differ() -> None:
    assert list(caveats("sequence", "1 and 2 at once"))
    assert not list(caveats("quickstart", "at once"))


@pytest.mark.parametrize(
    ("one", "other", "tied"),
    [("ab", "bc", True), ("a", "a′b", False), ("a′", "b′a′", True), ("a", "", None)],
)
def test_a_letter_with_a_prime_is_another_letter(one: str, other: str, tied: bool | None) -> None:
    rows = [Row(name, "ok", None, 1, ("tokens", 1.0), tie_groups=name) for name in (one, other)]
    assert rows[0].ties_with(rows[1]) is tied
