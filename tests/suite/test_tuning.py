"""An equal search: the same points for every recipe, chosen on validation data, charged apart, and
resumed like any run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from bench import Choice
from bench.methods.entry import resolve
from bench.records.schema import Record
from bench.records.stages import Score
from bench.records.store import Store
from bench.suite.search import Draw, draws, ranges

from ..conftest import Bench

SUITE = """
suite: small
model: tiny
target: tiny/smallest
retain: [tiny/people]
budget: {tokens: 3k}
batch: {size: 16, max_length: 64}
seeds: [0]
tuning: {trials: 2, share: 0.5}
methods:
  - sft
  - lora: {r: 4, lora_alpha: 8, lora_dropout: 0.0}
  - sft: {lr: 1.0e-3}
    as: fixed
"""


def _places(name: str, parameters: Any) -> list[tuple[int | str, ...]]:
    return [place for place, _ in ranges(resolve(name, parameters))]


def _draws(name: str, parameters: Any, trials: int, seed: int) -> list[Draw]:
    return draws(resolve(name, parameters), trials, seed)


def test_every_recipe_has_the_same_points_in_its_own_ranges() -> None:
    points = qmc.Halton(d=1, scramble=True, rng=7).random(5)[:, 0]
    for name, low, high in (("sft", 1e-6, 1e-2), ("lora", 1e-5, 1e-1), ("ia3", None, None)):
        limits: Any = next(h.range for _, h in ranges(resolve(name, {})))
        rates = [draw.drawn["lr"] for draw in _draws(name, {}, 5, 7)]
        assert rates == pytest.approx(
            [limits.low * (limits.high / limits.low) ** x for x in points], rel=5e-3
        )
        assert low is None or (limits.low, limits.high) == (low, high)


@given(st.integers(1, 12), st.integers(0, 3))
def test_more_dimensions_leave_the_first_as_they_are(trials: int, seed: int) -> None:
    one, four = (qmc.Halton(d=d, scramble=True, rng=seed).random(trials) for d in (1, 4))
    assert (one[:, 0] == four[:, 0]).all()


@given(st.integers(0, 20))
def test_draws_lie_inside_their_ranges(seed: int) -> None:
    for name in ("lora", "replay", "ppo"):
        found = dict(ranges(resolve(name, {})))
        for draw in _draws(name, {}, 8, seed):
            for (key,), h in found.items():
                value, limits = draw.drawn[str(key)], h.range
                if isinstance(limits, Choice):
                    assert value in limits.values
                else:
                    assert limits is not None and limits.low <= value <= limits.high


def test_what_the_suite_sets_is_not_drawn() -> None:
    assert _places("lora", {"r": 4, "lr": 1e-3}) == [("lora_alpha",), ("lora_dropout",)]
    assert _places("sft", {"lr": 1e-3}) == []
    assert _draws("sft", {"lr": 1e-3}, 4, 0) == []


def test_parts_of_a_chain_draw_one_by_one() -> None:
    given = ["sft", {"dpo": {"beta": 0.1}}, {"chain": ["sft", {"dpo": None}]}]
    assert _places("chain", given) == [
        (0, "sft", "lr"),
        (1, "dpo", "lr"),
        (2, "chain", 0, "sft", "lr"),
        *((2, "chain", 1, "dpo", name) for name in ("lr", "beta")),
    ]
    draw = _draws("chain", given, 3, 0)[2]
    assert draw.parameters[1]["dpo"] == {"beta": 0.1, "lr": draw.drawn["1.dpo.lr"]}
    assert draw.parameters[2]["chain"][1]["dpo"]["beta"] == draw.drawn["2.chain.1.dpo.beta"]
    assert given == ["sft", {"dpo": {"beta": 0.1}}, {"chain": ["sft", {"dpo": None}]}]


def _from_low_to_high(draws: list[Any]) -> list[int]:
    """Numbers of the draws, ordered by their learning rates."""
    return sorted(range(len(draws)), key=lambda number: draws[number].drawn["lr"])


@given(st.integers(0, 40))
def test_a_draw_that_the_method_refuses_is_drawn_again(seed: int) -> None:
    """AdaLoRA's final rank must lie below its first, and each has a range of its own."""
    found = _draws("adalora", {}, 8, seed)
    assert all(draw.drawn["target_r"] < draw.drawn["init_r"] for draw in found)
    assert found == _draws("adalora", {}, 8, seed)
    # one that is drawn again keeps its place in the range of the rates, as lora has it in its own
    assert _from_low_to_high(found) == _from_low_to_high(_draws("lora", {}, 8, seed))
    in_chain = _draws("chain", ["sft", "adalora"], 8, seed)
    for draw in in_chain:
        resolve("chain", draw.parameters)


def test_a_search_of_what_the_method_may_refuse_is_planned(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SUITE.replace("trials: 2", "trials: 8") + "  - adalora\n")
    told = bench("plan", "s.yaml", "--json")
    assert told.returncode == 0, told.stderr
    trials = [r for r in json.loads(told.stdout)["runs"] if r["purpose"] == "trial"]
    assert sum(r["recipe"] == "adalora" for r in trials) == 8


def test_the_search_alone_without_the_defaults(bench: Bench, tmp_path: Path) -> None:
    """What has nothing to draw is trained as it stands: nothing else would show it."""
    (tmp_path / "all.yaml").write_text(SUITE)
    (tmp_path / "s.yaml").write_text(SUITE.replace("share: 0.5", "share: 0.5, defaults: false"))
    every, some = (
        json.loads(bench("plan", name, "--json").stdout)["runs"] for name in ("all.yaml", "s.yaml")
    )
    assert [r["recipe"] for r in some if r["purpose"] != "trial"] == ["base", "fixed"]
    assert {r["id"] for r in every} - {r["id"] for r in some} == {
        r["id"] for r in every if r["recipe"] in ("sft", "lora") and r["purpose"] == "row"
    }


def test_a_resolved_suite_leaves_open_what_is_drawn(bench: Bench, tmp_path: Path) -> None:
    chain = "  - chain: [sft, {dpo: {beta: 0.3}}]\n"
    (tmp_path / "s.yaml").write_text(SUITE + chain)
    planned = json.loads(bench("plan", "s.yaml", "--json").stdout)
    sft, dpo = yaml.safe_load(planned["suite"])["methods"][-1]["chain"]["parts"]
    assert "lr" not in sft["sft"]
    assert "lr" not in dpo["dpo"] and dpo["dpo"]["beta"] == 0.3
    (tmp_path / "again.yaml").write_text(planned["suite"])
    assert json.loads(bench("plan", "again.yaml", "--json").stdout)["runs"] == planned["runs"]


@pytest.mark.slow
def test_a_search_from_the_suite_to_the_report(bench_process: Bench, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SUITE)
    planned = json.loads(bench_process("plan", "small.yaml", "--json").stdout)
    assert [r["recipe"] for r in planned["runs"] if r["purpose"] == "trial"] == [
        "sft",
        "lora",
        "sft",
        "lora",
    ]
    assert {r["seed"] for r in planned["runs"] if r["purpose"] == "trial"} == {1}, (
        "a seed that no row has"
    )
    assert yaml.safe_load(planned["suite"])["methods"][0]["sft"] == {}
    done = bench_process("run", "small.yaml")
    assert done.returncode == 0, done.stderr + done.stdout
    folder = tmp_path / "results/small"
    records = {r.id: r for r in Store(folder).planned()}
    trials = [r for r in records.values() if r.purpose == "trial"]
    assert {r.split for r in trials} == {"validation"}
    assert {tuple(scores(r)) for r in trials} == {("tiny/smallest",)}, (
        "neither retained tasks nor drift are looked at"
    )
    assert all(spent(r) == pytest.approx(1500, rel=0.3) for r in trials)
    rows = json.loads(bench_process("report", folder, "--json").stdout)["rows"]
    assert {r["recipe"] for r in rows} == {
        "base",
        "sft",
        "lora",
        "fixed",
        "sft (tuned)",
        "lora (tuned)",
    }
    for recipe in ("sft", "lora"):
        own = sorted((r for r in trials if r.recipe == recipe), key=lambda r: r.trial or 0)
        best = max(own, key=lambda r: scores(r)["tiny/smallest"].value)
        (tuned,) = [r for r in records.values() if r.recipe == f"{recipe} (tuned)"]
        assert (tuned.parameters, tuned.trial, tuned.drawn) == (
            best.parameters,
            best.trial,
            best.drawn,
        )
        row = next(r for r in rows if r["recipe"] == f"{recipe} (tuned)")
        assert row["tuned_from"] == recipe
        assert row["tuning_tokens"] == sum(spent(r) for r in own)
        assert row["spent_tokens"] == pytest.approx(3000, rel=0.2), (
            "its own budget, the search apart"
        )
        assert "untuned" in next(r for r in rows if r["recipe"] == recipe)["marks"]
    assert "untuned" not in next(r for r in rows if r["recipe"] == "sft (tuned)")["marks"]
    again = bench_process("run", "small.yaml")
    assert "10 runs, 10 already done" in again.stdout.replace("\n", " ")


def test_tuning_asks_for_validation_data(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "task: t\ndataset_path: json\ntest_split: test\ndoc_to_text: x\ndoc_to_target: y\n"
    )
    (tmp_path / "d.jsonl").write_text('{"prompt": "a", "completion": " b"}\n')
    (tmp_path / "s.yaml").write_text(
        "suite: s\nmodel: tiny\ntarget: t\nbudget: {steps: 1}\ntuning: {trials: 2}\nmethods:"
        " [sft]\ntasks:\n  t:\n    prompt-completion: {path: json, data_files: {train: d.jsonl}}\n "
        "   evaluate: t.yaml\n"
    )
    told = bench("plan", "s.yaml")
    assert told.returncode == 2
    assert (
        "line 3: tuning chooses on validation data, and the lm-eval task of t names no"
        " validation_split" in told.stderr
    )


def _as_on_the_hub(folder: Path, name: str, splits: dict[str, list[dict[str, Any]]]) -> None:
    """A data set with one configuration, laid out as on the Hub."""
    folder.mkdir(parents=True)
    files = "".join(f"      - {{split: {s}, path: {s}.jsonl}}\n" for s in splits)
    head = f"configs:\n  - config_name: {name}\n    data_files:\n{files}"
    (folder / "README.md").write_text(f"---\n{head}---\n")
    for split, rows in splits.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.slow
def test_a_task_of_lm_eval_is_tuned_on_a_split_that_it_is_not_tested_on(
    bench: Bench, bench_process: Bench, tmp_path: Path
) -> None:
    def science(split: str, count: int) -> list[dict[str, Any]]:
        choices = {"text": ["sun", "moon"], "label": ["A", "B"]}
        return [
            {"id": f"{split}{i}", "question": f"{split} {i}?", "choices": choices, "answerKey": "A"}
            for i in range(count)
        ]

    counts = {"train": 8, "validation": 6, "test": 4}
    arc = {split: science(split, count) for split, count in counts.items()}
    _as_on_the_hub(tmp_path / "allenai/ai2_arc", "ARC-Easy", arc)
    reviews = {
        split: [{"idx": i, "sentence": f"{split} {i}", "label": i % 2} for i in range(8)]
        for split in ("train", "validation")
    }
    _as_on_the_hub(tmp_path / "nyu-mll/glue", "sst2", reviews)
    rows = ({"prompt": f"a{i}", "completion": f" b{i}"} for i in range(20))
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = (
        "suite: s\nmodel: tiny\ntarget: t\nbudget: {steps: 1}\nseeds: 1\nmethods: [sft]\n"
        "tuning: {trials: 1, defaults: false}\ntasks:\n  t:\n"
        "    prompt-completion: {path: json, data_files: {train: d.jsonl}}\n"
        "    evaluate: arc_easy\n"
    )
    (tmp_path / "s.yaml").write_text(suite)
    run = bench_process("run", "s.yaml", "--quiet")
    assert run.returncode == 0, run.stderr
    asked = {
        record.recipe if record.trial is None else record.purpose: scores(record)["t"].items
        for record in Store(tmp_path / "results/s").all()
    }
    assert asked == {"base": 4, "trial": 6, "row": 4}
    (tmp_path / "s.yaml").write_text(suite.replace("arc_easy", "sst2"))
    refused = bench("plan", "s.yaml")
    assert refused.returncode == 2
    assert "lm-eval's sst2 has no validation split beside the split that it is" in refused.stderr


def test_a_row_may_not_take_the_name_of_a_tuned_one(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "suite: s\nmodel: tiny\ntarget: tiny/swap\nbudget: {steps: 1}\ntuning: {trials:"
        " 2}\nmethods:\n  - sft\n  - {lora: {}, as: sft (tuned)}\n"
    )
    told = bench("plan", "s.yaml")
    assert told.returncode == 2
    assert "line 7: tuning makes a row called sft (tuned)" in told.stderr


def scores(record: Record) -> dict[str, Score]:
    assert record.evaluation is not None
    return record.evaluation.scores


def spent(record: Record) -> float:
    assert record.train is not None and record.train.ledger.spent.tokens is not None
    return record.train.ledger.spent.tokens
