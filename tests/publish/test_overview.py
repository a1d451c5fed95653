"""docs/results.md is what `bench overview` makes of the published records, and what it says of
rates and seeds is what the records say.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import fmean

from bench.analysis import CurvePoint, Trial
from bench.analysis.statistics import Estimate
from bench.publish import pictures
from bench.publish.dependence import on_draw, on_rate
from bench.publish.gather import suites_in

from ..analysis.changed import Results
from ..conftest import ROOT, Bench

PAGE = ROOT / "docs/results.md"
PUBLISHED = ROOT / "results"


def test_the_page_is_what_the_command_makes_of_the_records(tmp_path: Path, bench: Bench) -> None:
    """To mend: bench overview results docs/results.md."""
    for name in ("results", "suites"):
        shutil.copytree(ROOT / name, tmp_path / name)
    done = bench("overview", "results", "docs/results.md")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "docs/results.md").read_text() == PAGE.read_text()
    made = sorted(file.name for file in (tmp_path / "docs/results").iterdir())
    assert made == sorted(file.name for file in (ROOT / "docs/results").iterdir())


def test_every_suite_and_every_picture_of_the_page_is_there() -> None:
    text = PAGE.read_text()
    suites = {folder.relative_to(PUBLISHED).as_posix() for folder in suites_in(PUBLISHED)}
    assert set(re.findall(r"^## (.+)$", text, re.M)) == suites
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(links) > 2 * len(suites)
    assert not [link for link in links if not (PAGE.parent / link).is_file()]
    for suite in suites:
        assert f"](#{suite.replace('/', '')})" in text
    for file in re.findall(r"`bench run (\S+) --only", text):
        assert (ROOT / file).is_file(), file


def _scores(suite: str) -> list[dict]:
    plan = json.loads((PUBLISHED / suite / "plan.json").read_text())["runs"]
    records = [json.loads((PUBLISHED / suite / f"records/{run}.json").read_text()) for run in plan]
    for record in records:
        found = record["evaluation"]["scores"]
        record["score"] = fmean(found[task]["value"] for task in record["target"])
    return [r for r in records if r["purpose"] == "row" and r["recipe"] != "base"]


def _section(suite: str) -> str:
    return PAGE.read_text().partition(f"\n## {suite}\n")[2].partition("\n## ")[0]


def test_how_much_the_order_depends_on_the_seed_is_counted_from_the_records() -> None:
    scores: dict[str, dict[int, float]] = {}
    for record in _scores("aa"):
        scores.setdefault(record["recipe"], {})[record["seed"]] = record["score"]
    pairs = list(combinations(scores.values(), 2))
    changing = [p for p in pairs if min(d := [p[0][s] - p[1][s] for s in p[0]]) < 0 < max(d)]
    said = f"From seed to seed, {len(changing)} of {len(pairs)} pairs of rows change their order."
    assert len(pairs) == 28 and said in _section("aa")


def test_how_much_the_order_depends_on_the_rate_is_counted_from_the_records() -> None:
    scores: dict[str, list[float]] = {}
    for record in _scores("quickstart-rates"):
        scores.setdefault(record["method"], []).append(record["score"])
    pairs = list(combinations(scores.values(), 2))
    changing = [(a, b) for a, b in pairs if max(a) > min(b) and max(b) > min(a)]
    said = (
        f"Over the learning rates that were tried, {len(changing)} of {len(pairs)} pairs of"
        " methods change their order."
    )
    assert all(len(own) == 3 for own in scores.values()) and said in _section("quickstart-rates")


def test_one_method_at_two_settings_is_two_lines_of_rates(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    for rank in (3, 64):
        for lr in (1e-4, 1e-3, 1e-2):
            parameters = {**results.records["lora"]["parameters"], "r": rank, "lr": lr}
            name = f"lora-{rank}-{lr}"
            results.add("lora", lambda r, n=name, p=parameters: r.update(recipe=n, parameters=p))
    found = on_rate(results.found().rows)
    assert found is not None and found.pairs == 1
    assert sorted(point.at for point in found.points) == sorted([1e-4, 1e-3, 1e-2] * 2)


def test_draws_of_a_chain_with_one_rate_count_too(tmp_path: Path) -> None:
    analysis = Results(tmp_path / "results").found()
    analysis.trials = [
        Trial(recipe, number, {name: rate}, "ok", score, False)
        for recipe, name in (("sft", "lr"), ("sft+dpo", "1.dpo.lr"))
        for number, (rate, score) in enumerate(((1e-4, 0.2), (1e-3, 0.6)))
    ]
    found = on_draw(analysis)
    assert found is not None and (found.changing, found.pairs) == (1, 1)


def test_a_price_is_told_only_of_what_gained_for_sure(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    results.add("base", lambda r: r.update(recipe="idle", method="sft"))
    train = results.records["sft"]["train"]
    results.add("base", lambda r: r.update(recipe="idle too", method="sft", train=train))
    drawn = pictures.price(results.found().rows)
    assert "lora" in drawn and "idle" not in drawn


def test_a_curve_has_pictures_of_score_against_budget_and_forgetting() -> None:
    points = [
        CurvePoint(name, share, Estimate(share / 2, 0.1, 0.9), Estimate(share / 9, 0.0, 0.2))
        for name in "ab"
        for share in (0.25, 0.5, 1.0)
    ]
    assert "share of the budget, %" in pictures.budget(points)
    assert "forgetting, points" in pictures.path(points)
    unknown = [replace(point, forgetting=None) for point in points]
    assert pictures.budget([]) == pictures.path([]) == pictures.path(unknown) == ""


def test_a_folder_without_results_is_told(tmp_path: Path, bench: Bench) -> None:
    (tmp_path / "empty").mkdir()
    for folder, said in (("empty", "holds no results"), ("nowhere", "there is no folder")):
        result = bench("overview", folder, "page.md")
        assert result.returncode == 2
        assert said in result.stderr
        assert not (tmp_path / "page.md").exists()
