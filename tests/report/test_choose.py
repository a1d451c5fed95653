"""The chooser of the page, in a real browser, against answers that are worked out here from the
records: what fits, which rows are best, and what is tied with them.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from bench.analysis import Analysis, analyze
from bench.analysis.outcomes import Outcomes
from bench.analysis.statistics import compare
from bench.records.store import Store
from bench.report import suite_file
from bench.report.html import choose, page
from tests.browser import opened
from tests.made_up import EVIL, everything

from ..conftest import ROOT, Bench

SENTIMENT, SEQUENCE = ROOT / "results/smollm2/sentiment", ROOT / "results/sequence"
Limits = dict[str, float]


@cache
def analysis(folder: Path) -> Analysis:
    return analyze(Store(folder))


@cache
def html(folder: Path) -> str:
    return page(analysis(folder), suite_file(Store(folder)))


def _measured(folder: Path) -> dict[str, dict[str, float]]:
    """By recipe, read from the JSON files: what limits can be put on, and the score."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in json.loads((folder / "plan.json").read_text())["runs"]:
        record = json.loads((folder / f"records/{run}.json").read_text())
        if record["purpose"] == "row" and record["status"] == "ok":
            found.setdefault(record["recipe"], []).append(record)

    def score(records: list[dict[str, Any]], tasks: list[str]) -> float:
        scores = [r["evaluation"]["scores"][task]["value"] for r in records for task in tasks]
        return 100 * fmean(scores)

    base = found.pop("base")
    retain = base[0]["retain"]
    return {
        name: {
            "memory": fmean(r["train"]["memory"]["peak_bytes"] for r in own) / 2**30,
            "training": fmean(r["train"]["seconds"]["train"] for r in own) / 60,
            "storage": fmean(r["train"]["artifact_bytes"] for r in own) / 2**20,
            "forgetting": score(base, retain) - score(own, retain),
            "target": score(own, own[0]["target"]),
        }
        for name, own in found.items()
    }


def _tied(p: dict[frozenset[str], float], fitting: list[str], best: str) -> set[str]:
    """Rows that Holm's procedure over the pairs that fit does not tell from the best one."""
    pairs = sorted((frozenset(pair) for pair in combinations(fitting, 2)), key=lambda q: p[q])
    differ: set[frozenset[str]] = set()
    for place, pair in enumerate(pairs):
        if p[pair] * (len(pairs) - place) > 0.05:
            break
        differ.add(pair)
    return {name for name in fitting if name != best and frozenset((name, best)) not in differ}


def _answer(folder: Path, limits: Limits) -> tuple[str, set[str], set[str]]:
    measured = _measured(folder)
    fitting = [n for n, own in measured.items() if all(own[k] <= v for k, v in limits.items())]
    best = min(fitting, key=lambda name: (-measured[name]["target"], name))
    p = {frozenset((q.one, q.other)): q.p for q in analysis(folder).groups[0].pairs}
    return best, _tied(p, fitting, best), set(fitting)


def _shown(browser: Any) -> tuple[str, set[str], set[str]]:
    lines = browser.evaluate(
        "() => [...document.querySelectorAll('#choose-0 tbody tr')].map((row) =>"
        " [row.querySelector('th a').textContent, row.cells[1].textContent, row.dataset.fits])"
    )
    (best,) = (name for name, told, _ in lines if told == "best")
    tied = {name for name, told, _ in lines if told == "tied with the best"}
    return best, tied, {name for name, _, fits in lines if fits == "true"}


FIELDS = {
    "memory": "peak_train_bytes",
    "training": "train_seconds",
    "storage": "artifact_bytes",
    "forgetting": "forgetting",
}


def _limit(browser: Any, limits: Limits) -> None:
    for name, column in FIELDS.items():
        text = f"{limits[name]:g}" if name in limits else ""
        browser.locator(f"[data-choose='0'] [data-limit={column}]").fill(text)


def test_what_one_has_decides_which_rows_are_best(tmp_path: Path) -> None:
    rows = _measured(SENTIMENT)
    most = rows[_answer(SENTIMENT, {})[0]]
    given: list[Limits] = [
        {"memory": 80, "training": 60},
        {"memory": round(0.98 * most["memory"], 2), "training": 60},
        {"storage": 20},
        {"forgetting": 1.0, "storage": 20},
        {},
    ]
    answers = [_answer(SENTIMENT, limits) for limits in given]
    assert answers[0][0] != answers[1][0] and len({tuple(sorted(a[2])) for a in answers}) >= 4
    with opened(html(SENTIMENT), tmp_path) as (browser, troubles):
        told = browser.locator("[data-choose='0'] .found")
        for limits, answer in zip(given, answers, strict=True):
            _limit(browser, limits)
            assert _shown(browser) == answer, limits
            assert told.inner_text().startswith(
                f"{len(answer[2])} of {len(rows)} rows fit. Best: {answer[0]}"
            )
        _limit(browser, {"memory": 0.1})
        assert told.inner_text() == f"None of {len(rows)} rows fits."
        for name, own in rows.items():
            row = browser.locator("#choose-0 tbody tr").filter(
                has=browser.get_by_role("link", name=name, exact=True)
            )
            said = row.locator("td").first.inner_text()
            assert said == f"memory {own['memory']:.3g} GiB", name
        name, near = next(
            (name, float(f"{own['training']:.3g}"))
            for name, own in rows.items()
            if float(f"{own['training']:.3g}") < own["training"]
        )
        _limit(browser, {"training": near})
        row = browser.locator("#choose-0 tbody tr").filter(
            has=browser.get_by_role("link", name=name, exact=True)
        )
        assert row.locator("td").first.inner_text() == f"training just over {near:g} minutes"
        assert not troubles, troubles


def _share(pair: frozenset[str], letters: dict[str, set[str]]) -> bool:
    one, other = pair
    return bool(letters[one] & letters[other])


def test_rows_picked_by_hand_are_compared_again(tmp_path: Path) -> None:
    p = {frozenset((q.one, q.other)): q.p for q in analysis(SENTIMENT).groups[0].pairs}
    letters = {row.recipe: set(row.tie_groups) for row in analysis(SENTIMENT).rows}
    # one comparison alone finds what the correction for all of them hid
    hidden = [pair for pair, value in p.items() if value <= 0.05 and _share(pair, letters)]
    rows = _measured(SENTIMENT)
    picked = sorted(min(hidden, key=lambda pair: p[pair]), key=lambda name: -rows[name]["target"])
    with opened(html(SENTIMENT), tmp_path) as (browser, troubles):
        browser.locator("[data-pick=none]").click()
        for name in picked:
            browser.get_by_label(f"Pick {name}", exact=True).check()
        assert _shown(browser) == (picked[0], set(), set(picked))
        assert not troubles, troubles


def test_tasks_picked_by_hand_give_a_table_of_their_own(tmp_path: Path) -> None:
    store, task = Store(SEQUENCE), "tiny/smallest"
    tables: dict[str, list[list[float]]] = {}
    for record in store.planned():
        if record.recipe != "base":
            items = {k: v for k, v in store.items(record.id).items() if k[0] == task}
            tables.setdefault(record.recipe, []).append([items[key] for key in sorted(items)])
    found = compare({name: Outcomes.of_items([own]) for name, own in tables.items()})
    first = max(found.accuracies, key=lambda name: found.accuracies[name].value)
    retained = analysis(SEQUENCE).rows[0].records[0].retain
    with opened(html(SEQUENCE), tmp_path) as (browser, troubles):
        before = browser.locator("#choose-0 tbody").inner_text()
        for field in browser.locator("[data-choose='0'] [data-target]").all():
            field.set_checked(field.get_attribute("data-target") == task)
        for field in browser.locator("[data-choose='0'] [data-retained]").all():
            field.set_checked(field.get_attribute("data-retained") == retained[0])
        lines = {
            row.locator("th a").inner_text(): row.locator("td").all_inner_texts()
            for row in browser.locator("#choose-0 tbody tr").all()
        }
        assert {name: line[1] for name, line in lines.items()} == found.letters
        assert lines[first][0] == "best"
        rows = {row.recipe: row for row in analysis(SEQUENCE).rows}
        for name, line in lines.items():
            low, high = (f"{100 * end:.1f}" for end in found.accuracies[name].bounds)
            value = f"{100 * found.accuracies[name].value:.1f}"
            assert line[2] == f"{value} ({low} to {high})".replace("-", "−")
            lost = f"{100 * rows[name].means[f'forgetting[{retained[0]}]']:.1f}"
            assert line[6] == lost.replace("-", "−")
        for field in browser.locator("[data-choose='0'] input[type=checkbox]").all():
            field.check()
        assert browser.locator("#choose-0 tbody").inner_text() == before
        assert not troubles, troubles


def test_of_many_pairs_the_groups_of_the_whole_table_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "MOST_PAIRS", 10)
    letters = {row.recipe: row.tie_groups for row in analysis(SENTIMENT).rows if row.tie_groups}
    with opened(page(analysis(SENTIMENT)), tmp_path) as (browser, troubles):
        _limit(browser, {"memory": 2.5})
        told = browser.locator("[data-choose='0'] .found").inner_text()
        assert told.endswith("Tie groups are those of the whole table.")
        best, tied, fitting = _shown(browser)
        assert tied == {n for n in fitting - {best} if set(letters[n]) & set(letters[best])}
        assert not troubles, troubles


def test_a_command_is_copied(tmp_path: Path) -> None:
    with opened(html(SENTIMENT), tmp_path) as (browser, troubles):
        browser.context.grant_permissions(["clipboard-read", "clipboard-write"])
        name = next(name for name in _measured(SENTIMENT) if name.startswith("lora"))
        button = browser.get_by_label(f"Copy the command of {name}", exact=True)
        button.click()
        button.get_by_text("Copied").wait_for()
        told = browser.evaluate("() => navigator.clipboard.readText()")
        assert told == ("bench run suites/smollm2/sentiment.yaml --only lora --results again")
        assert not troubles, troubles


def test_without_javascript_every_row_and_command_is_there() -> None:
    markup = re.sub(r"<script>.*?</script>", "", html(SENTIMENT), flags=re.S)
    section = re.search(r'<section aria-labelledby="choose">(.*?)</section>', markup, re.S)
    assert section
    rows = [row for row in analysis(SENTIMENT).rows if row.recipe in _measured(SENTIMENT)]
    for row in rows:
        assert f"--only {row.tuned_from or row.recipe} --results again</code>" in section[1]
    assert section[1].count("measured here, ") == len(rows)
    assert 'aria-label="What you have" hidden' in section[1], "what needs the script is not shown"


def test_names_are_quoted_in_commands_and_origins_are_told() -> None:
    assert choose.command(everything().rows[0], "a b.yaml").startswith("bench run 'a b.yaml'")
    evil = next(row for row in everything().rows if row.recipe == EVIL)
    assert shlex.split(choose.command(evil, "s.yaml"))[4] == EVIL
    borrowed = next(row for row in everything().rows if row.imported)
    assert choose.command(borrowed, "s.yaml") == ""
    assert choose.origin(borrowed).startswith("claimed: Doe et al.")
    borrowed.answered = True
    assert choose.origin(borrowed).endswith("with the outcome of every item")


@pytest.mark.parametrize("suite", ["quickstart", "solar", "smollm2/solar", "smollm2/domain"])
def test_the_command_names_the_suite_file(suite: str) -> None:
    """suites/smollm2/solar.yaml and suites/gpu/domain.yaml hold suites of the same name."""
    assert suite_file(Store(ROOT / "results" / suite)) == f"suites/{suite}.yaml"


def test_rows_that_retain_other_tasks_share_one_chooser(bench: Bench, tmp_path: Path) -> None:
    shutil.copytree(SENTIMENT, tmp_path / "two", ignore=shutil.ignore_patterns(".lock"))
    store = Store(tmp_path / "two")
    for record in store.planned():
        if record.method == "lora":
            fewer = record.model_copy(update={"retain": record.retain[:1]})
            store.put(fewer, store.items_file(record.id))
    result = bench("report", "two", "--together")
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'data-limit="peak_train_bytes"' in (tmp_path / "two/report/report.html").read_text()
