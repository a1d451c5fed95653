"""What a report says first, and of what tuning did, is made from the numbers and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .changed import Change, Results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "quickstart")


def test_the_headline_is_made_from_the_numbers(results: Results) -> None:
    first = results.found()
    assert first.headline.startswith("On tiny/smallest, sft reaches 99.6% (95% interval ")
    assert "statistically indistinguishable from lora" in first.headline
    results.add("lora", lambda r: r.update(recipe="perfect"), {"tiny/smallest": [1.0] * 256})
    assert results.found().headline.startswith("On tiny/smallest, perfect reaches 100.0%")


def test_a_table_in_which_nobody_gains_says_so_first(results: Results) -> None:
    for name in ("weak", "weaker"):
        results.add("base", lambda r, name=name: r.update(recipe=name, method="sft"))
    results.runs = [results.runs[0], *results.runs[-2:]]
    (results.folder / "plan.json").write_text(json.dumps({"runs": results.runs}))
    assert results.found().headline.startswith(
        "On tiny/smallest, none of 2 recipes raises accuracy above the base's 0.0% by more than"
        " noise: the highest, weak, reaches 0.0% (95% interval "
    )


def test_nobody_forgets_least_whom_no_test_tells_from_the_others(results: Results) -> None:
    assert "of these, sft forgets least: " in results.found().headline
    results.add("sft", lambda r: r.update(recipe="twin"))
    said = "of these, sft and twin are tied for the least forgetting (52.9 to 52.9 points)"
    assert said in results.found().headline
    results.runs = [run for run in results.runs if run != results.records["lora"]["id"]]
    (results.folder / "plan.json").write_text(json.dumps({"runs": results.runs}))
    assert "of these, none is known to forget least (" in results.found().headline


def test_all_below_the_base_is_said_first(results: Results) -> None:
    results.add("base", lambda r: r.update(recipe="worse", method="sft"))
    results.add("sft", lambda r: r.update(recipe="base", seed=1, method=None))
    before, after = results.runs[-1], results.runs[-2]
    (results.folder / "plan.json").write_text(json.dumps({"runs": [before, after]}))
    assert results.found().headline.startswith(
        "On tiny/smallest, worse lowers accuracy below the base's 99.6% by more than noise: it"
        " reaches 0.0%"
    )


def _tuned(name: str, score: float) -> tuple[Change, dict[str, list[float]]]:
    right = round(256 * score)
    answers = {"tiny/smallest": [1.0] * right + [0.0] * (256 - right)}
    source = name.removesuffix(" (tuned)")
    tuned_from = source if source != name else None
    return lambda r: r.update(recipe=name, tuned_from=tuned_from, trial=0), answers


def test_two_orders_with_ties_agree_as_far_as_they_are_orders(results: Results) -> None:
    """τ-b of Kendall 1945 by hand: of the pairs ab, ac, bc the first ties before; 2 / √(2 · 3)."""
    for name, before, after in (("a", 0.5, 0.9), ("b", 0.5, 0.8), ("c", 0.25, 0.75)):
        results.add("sft", *_tuned(name, before))
        results.add("sft", *_tuned(f"{name} (tuned)", after))
    (told,) = (sentence for sentence in results.found().ranking if "Kendall" in sentence)
    assert "the two orders agree with Kendall's τ = 0.82" in told
    assert "change places" not in told
