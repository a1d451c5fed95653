"""What changed between two results folders, told by the command as a gate in continuous integration
would use it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.diff import diff
from bench.records.schema import Record
from bench.records.store import Store

from ..conftest import ROOT, Bench

ITEMS = 200
ENVIRONMENT = {"libraries": {"torch": "2.13.0"}, "device": "AMD EPYC", "threads": 1}


STAGE = {
    "environment": ENVIRONMENT,
    "memory": {"peak_bytes": 100, "kind": "resident set"},
    "parameters": {},
}
TRAIN = {
    **STAGE,
    "tokens_per_second": 50.0,
    "seconds": {"train": 4.0},
    "ledger": {"spent": {}},
    "loss": {},
}


def _put(folder: Path, recipe: str, answers: dict[str, Any], seed: int = 0, **changes: Any) -> None:
    """A record whose scores are the means of these answers; `t` is the target."""
    scores = {
        task: {
            "value": float(np.mean(a)),
            "metric": "acc",
            "higher_is_better": True,
            "items": len(a),
        }
        for task, a in answers.items()
    }
    evaluation = {
        **STAGE,
        "scores": scores,
        "decode": {"tokens": 10, "seconds": 2.0},
        "seconds": {"evaluate": 3.0},
    }
    record = {
        "id": f"{recipe}-s{seed}",
        "suite": "s",
        "comparison_key": "k",
        "recipe": recipe,
        "seed": seed,
        "status": "ok",
        "target": ["t"],
        "retain": [task for task in answers if task != "t"],
        "budget": {"currency": "steps", "amount": 5.0},
        "fingerprints": {"model": "m", "tasks": dict.fromkeys(answers, "f")},
        "concurrent_runs": 1,
        "train": TRAIN,
        "evaluation": evaluation,
    }
    rows = [
        (task, task, i, float(score))
        for task, scores in answers.items()
        for i, score in enumerate(scores)
    ]
    folder.mkdir(exist_ok=True)
    items = folder / "items-to-be"
    pd.DataFrame(rows, columns=["task", "part", "doc_id", "score"]).to_parquet(items)
    Store(folder).put(Record.model_validate({**record, **changes}), items)
    items.unlink()


def _right(count: int, of: int = ITEMS) -> list[int]:
    return [1] * count + [0] * (of - count)


def _both(tmp_path: Path) -> tuple[Path, Path]:
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        _put(folder, "base", {"t": _right(0), "old": _right(190)})
        _put(folder, "sft", {"t": _right(150), "old": _right(120)})
    return folders


def test_nothing_changed_is_within_noise_and_passes(tmp_path: Path, bench: Bench) -> None:
    _both(tmp_path)
    result = bench("diff", "a", "b")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("within noise") == 2
    assert "worse:" not in result.stdout


def test_items_lost_on_every_seed_are_worse_and_fail(tmp_path: Path, bench: Bench) -> None:
    _, b = _both(tmp_path)
    _put(b, "sft", {"t": _right(125), "old": _right(120)})
    result = bench("diff", "a", "b", "--json")
    assert result.returncode == 1
    found = json.loads(result.stdout)
    (sft,) = [recipe for recipe in found["recipes"] if recipe["recipe"] == "sft"]
    accuracy, forgetting = sft["changes"]
    assert accuracy["verdict"] == "worse"
    assert accuracy["difference"] == pytest.approx(-0.125)
    assert accuracy["low"] < -0.125 < accuracy["high"] < 0
    assert forgetting["verdict"] == ""
    assert forgetting["a"] == forgetting["b"] == pytest.approx(0.35)
    assert found["worse"]
    back = bench("diff", "b", "a")
    assert back.returncode == 0
    assert "accuracy better" in back.stdout


def test_more_forgetting_is_worse_although_the_target_gained(tmp_path: Path, bench: Bench) -> None:
    _, b = _both(tmp_path)
    _put(b, "sft", {"t": _right(195), "old": _right(80)})
    result = bench("diff", "a", "b")
    assert result.returncode == 1
    assert "accuracy better, forgetting worse" in " ".join(result.stdout.split())


def test_pairing_on_items_finds_what_unpaired_scores_would_not(tmp_path: Path) -> None:
    a, b = _both(tmp_path)
    _put(b, "sft", {"t": _right(138), "old": _right(120)})
    assert diff(a, b).worse
    for folder in (a, b):
        for file in (folder / "items").iterdir():
            file.unlink()
    unpaired = diff(a, b)
    assert not unpaired.worse
    assert any("not paired on items" in note for note in unpaired.notes)


def test_a_recipe_that_no_longer_runs_is_worse(tmp_path: Path, bench: Bench) -> None:
    _, b = _both(tmp_path)
    _put(b, "sft", {"t": _right(0)}, status="out of memory", evaluation=None)
    result = bench("diff", "a", "b")
    assert result.returncode == 1
    assert "worse: out of memory in B" in result.stdout


def test_rows_of_one_folder_only_are_told_and_nothing_else(tmp_path: Path, bench: Bench) -> None:
    a, b = _both(tmp_path)
    _put(a, "gone", {"t": _right(10), "old": _right(10)})
    _put(b, "[new]", {"t": _right(10), "old": _right(10)})
    result = bench("diff", "a", "b")
    assert result.returncode == 0
    assert "Only in A: gone" in result.stdout
    assert "Only in B: [new]" in result.stdout


def test_speed_is_told_only_for_equal_machines(tmp_path: Path, bench: Bench) -> None:
    _, b = _both(tmp_path)
    stage = {
        **TRAIN,
        "memory": {"peak_bytes": 300, "kind": "resident set"},
        "tokens_per_second": 25.0,
        "seconds": {"train": 8.0},
    }
    _put(b, "sft", {"t": _right(150), "old": _right(120)}, train=stage)
    ratios = {
        r["recipe"]: r["ratios"]
        for r in json.loads(bench("diff", "a", "b", "--json").stdout)["recipes"]
    }
    assert ratios["sft"]["train_tokens_per_second"] == 0.5
    assert (ratios["sft"]["peak_train_bytes"], ratios["sft"]["train_seconds"]) == (3.0, 2.0)
    other = {**stage, "environment": {**ENVIRONMENT, "libraries": {"torch": "2.14.0"}}}
    _put(b, "sft", {"t": _right(150), "old": _right(120)}, train=other)
    result = bench("diff", "a", "b")
    assert "not comparable (sft): torch 2.13.0 in A, 2.13.0 and 2.14.0 in B" in " ".join(
        result.stdout.split()
    )


def test_another_split_is_not_paired_and_other_hyper_parameters_are_told(
    tmp_path: Path, bench: Bench
) -> None:
    _, b = _both(tmp_path)
    for recipe in ("base", "sft"):
        _put(
            b,
            recipe,
            {"t": _right(150), "old": _right(120)},
            split="validation",
            parameters={"lr": 0.1},
        )
    said = " ".join(bench("diff", "a", "b").stdout.split())
    assert "the data are not known to be the same" in said
    assert "Hyper-parameters of sft differ: lr none in A and 0.1 in B" in said
    assert "The base scores otherwise on the retained tasks in B" in said


@pytest.mark.parametrize("wrong", ["empty", "other"])
def test_folders_that_cannot_be_compared_are_told(tmp_path: Path, bench: Bench, wrong: str) -> None:
    _both(tmp_path)
    (tmp_path / "empty").mkdir()
    _put(tmp_path / "other", "sft", {"t": _right(1)}, target=["u"])
    result = bench("diff", "a", wrong)
    assert result.returncode == 2
    assert wrong in result.stderr


def test_published_results_do_not_differ_from_themselves(bench: Bench) -> None:
    folder = ROOT / "results/quickstart"
    found = json.loads(bench("diff", folder, folder, "--json").stdout)
    assert not found["worse"]
    assert all(
        change["difference"] == 0 for recipe in found["recipes"] for change in recipe["changes"]
    )
    assert all(ratio == 1 for recipe in found["recipes"] for ratio in recipe["ratios"].values())


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_swapping_the_folders_turns_every_difference_around(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("swap")
    answers = st.lists(st.integers(0, 1), min_size=12, max_size=12)
    for side in ("a", "b"):
        for recipe in ("base", "x"):
            for seed in range(1 if recipe == "base" else 2):
                _put(
                    folder / side,
                    recipe,
                    {"t": data.draw(answers), "old": data.draw(answers)},
                    seed,
                )
    there, back = diff(folder / "a", folder / "b"), diff(folder / "b", folder / "a")
    for one, other in zip(there.recipes, back.recipes, strict=True):
        for ahead, behind in zip(one.changes, other.changes, strict=True):
            assert ahead.difference == pytest.approx(-behind.difference)
            assert (ahead.low, ahead.high) == pytest.approx((-behind.high, -behind.low))
            assert ahead.p == pytest.approx(behind.p)
