"""How long a suite takes: told before, and while it runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.models.load import load_tokenizer
from bench.records.schema import Batch, Fingerprints, Record
from bench.records.stages import Environment
from bench.suite.file import parse
from bench.suite.forecast import LEAST_LIMIT, Expected, Forecast, Seconds, alike
from bench.suite.plan import Run, make_plan
from bench.suite.probe import SAMPLE, _Probe
from bench.suite.schema import Suite

from ..conftest import Bench, command, environment

RECIPES = ("sft", "lora", "prompt-tuning", "instruction")
SECONDS = st.floats(0.1, 1e4)
KIND = {"kind": "resident set"}


def _suite(recipes: Sequence[str] = RECIPES, folder: Path = Path(), **more: Any) -> Suite:
    return parse(
        {
            "suite": "s",
            "model": "tiny",
            "target": "tiny/smallest",
            "retain": ["tiny/last"],
            "drift": "tiny/text",
            "budget": {"tokens": 1000},
            "methods": list(recipes),
            **more,
        },
        folder,
    )


def _record(run: Run, train: float = 10.0, evaluate: float = 5.0, status: str = "ok") -> Record:
    """What is left of a run that took so long; loading, objective and drift took a second each."""
    trained = {
        "seconds": {"load": 1.0, "measure": 1.0, "train": train, "save": 0.0, "other": 0.0},
        "parameters": {},
        "ledger": {"spent": {}},
        "loss": {},
        "environment": {},
    }
    return Record.model_validate(
        {
            "id": run.id,
            "suite": "s",
            "comparison_key": run.setting,
            "recipe": run.recipe,
            "method": run.method,
            "seed": run.seed,
            "purpose": run.purpose,
            "share": run.share,
            "status": status,
            "target": ["tiny/smallest"],
            "retain": ["tiny/last"],
            "budget": {"currency": "tokens", "amount": 1000 * run.share},
            "train": trained if run.method else None,
            "evaluation": {
                "seconds": {"load": 1.0, "evaluate": evaluate, "drift": 1.0},
                "scores": {},
                "parameters": {},
                "environment": {},
            },
        }
    )


def _total(record: Record) -> float:
    stages = (stage.seconds.model_dump() for stage in (record.train, record.evaluation) if stage)
    return sum(part or 0.0 for stage in stages for part in stage.values())


@given(st.lists(SECONDS, min_size=4, max_size=4), SECONDS, st.integers(1, 4))
@settings(deadline=None, max_examples=50)
def test_after_the_first_run_of_each_recipe_the_forecast_is_exact(
    seconds: list[float], evaluate: float, seeds: int
) -> None:
    suite = _suite(seeds=seeds + 1)
    runs, forecast = make_plan(suite, "cpu"), Forecast(suite)
    took = dict(zip(RECIPES, seconds, strict=True)) | {"base": 0.0}
    records = [_record(run, took[run.recipe], evaluate) for run in runs]
    forecast.plan(runs, 0)
    assert forecast.seconds_left(1, 0.0) is None, "nothing is known"
    for record in records[:5]:
        forecast.finished(record)
    assert forecast.seconds_left(1, 0.0) == pytest.approx(sum(map(_total, records[5:])))
    for i, record in enumerate(records[5:], 6):
        forecast.finished(record)
        assert forecast.seconds_left(1, 0.0) == pytest.approx(sum(map(_total, records[i:])))


def test_the_first_steps_of_the_first_training_tell() -> None:
    suite = _suite(["sft", "lora"], seeds=2)
    runs, forecast = make_plan(suite, "cpu"), Forecast(suite)
    forecast.plan(runs, 0)
    forecast.finished(_record(runs[0]))
    assert forecast.seconds_left(1, 0.0) is None, "nobody has trained"
    forecast.running(runs[1], "train", 0.0, now=100.0)
    forecast.running(runs[1], "train", 0.1, now=110.0)
    truth = 4 * _total(_record(runs[1], 100.0)) - 10
    assert forecast.seconds_left(1, 110.0) == pytest.approx(truth, rel=0.05)
    assert forecast.seconds_left(2, 110.0) == pytest.approx(truth / 2, rel=0.05)


def test_a_trial_and_a_point_of_a_curve_take_less_than_a_row() -> None:
    suite = _suite(["lora"], seeds=1, curve=[0.5], tuning={"trials": 2, "share": 0.25})
    runs, forecast = make_plan(suite, "cpu"), Forecast(suite)
    for run in runs:
        if run.purpose == "row":
            forecast.finished(_record(run, 100.0))
    curve = next(run for run in runs if run.purpose == "curve")
    trial = next(run for run in runs if run.purpose == "trial")
    seconds = forecast.of(curve), forecast.of(trial)
    assert [s.train for s in seconds if s] == pytest.approx([50.0, 25.0])
    assert [s.evaluate for s in seconds if s] == pytest.approx([5.0, 2.5]), "the target alone"
    assert [s.drift for s in seconds if s] == [1, 0]
    forecast.plan([trial], to_come=2)
    alone = seconds[1]
    assert alone
    assert forecast.seconds_left(1, 0.0) == pytest.approx(alone.total + 2 * (100 + 5 + 1 + 3))


def test_rows_that_only_trials_can_name_are_expected_from_their_trials() -> None:
    tuning = {"trials": 2, "share": 0.25, "defaults": False}
    suite = _suite(["sft", "lora"], seeds=3, tuning=tuning)
    expected = Expected(Seconds(train=100.0, evaluate=5.0, drift=1.0), certain=True)
    runs, forecast = make_plan(suite, "cpu"), Forecast(suite, expected)
    _, *trials = runs
    assert [run.purpose for run in trials] == ["trial"] * 4
    forecast.plan(runs, to_come=6)
    whole = [forecast.of(run) for run in runs]
    named = sum(seconds.total for seconds in whole if seconds)
    assert forecast.seconds_left(1, 0.0) == pytest.approx(named + 6 * (100 + 5 + 1))


def test_a_failed_run_tells_nothing_and_no_limit_is_below_an_hour() -> None:
    suite = _suite(["sft"], seeds=2)
    base, first, second = make_plan(suite, "cpu")
    forecast = Forecast(suite)
    forecast.finished(_record(base))
    forecast.finished(_record(first, 1000.0, status="failed"))
    assert forecast.limit(second) is None
    forecast.finished(_record(first, 10.0))
    assert forecast.limit(second) == LEAST_LIMIT
    forecast.finished(_record(first, 10_000.0))
    assert forecast.limit(second) == pytest.approx(20 * (5005 + 1 + 5 + 1 + 2), rel=0.01)


SUITE = """\
suite: long
model: tiny
target: tiny/smallest
retain: [tiny/last]
drift: tiny/text
budget: {tokens: 6k}
batch: {size: 16, max_length: 64}
seeds: 2
methods: [sft, lora, prompt-tuning, prefix-tuning]
"""
LEFT = re.compile(r"(\d+)/9 .* about (\d+) (s|min) left")


@pytest.mark.slow
def test_forecasts_hold(bench_process: Bench, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    plan = json.loads(bench_process("plan", "suite.yaml", "--jobs", 1, "--json").stdout)
    started, ended, told = time.monotonic(), 0.0, []
    process = subprocess.Popen(
        command("run", "suite.yaml", "--jobs", 1),
        cwd=tmp_path,
        env=environment(tmp_path, COLUMNS="200"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    for line in process.stdout:
        print(line, end="")
        if found := LEFT.search(line):
            unit = 60 if found[3] == "min" else 1
            told.append((int(found[1]), time.monotonic() - started, unit * int(found[2])))
        if "9/9" in line:
            ended = time.monotonic() - started
            break
    process.communicate(timeout=600)
    assert process.returncode == 0
    ratios = {done: round(left / (ended - at), 2) for done, at, left in told}
    print("left, forecast over truth, by finished runs:", ratios)
    print("plan over truth:", plan["estimate"]["total_seconds"] / ended)
    for done in (2, 4):  # less than a quarter, and less than half of the suite
        assert 1 / 3 < ratios[done] < 3, ratios
    assert 1 / 4 < plan["estimate"]["total_seconds"] / ended < 4

    again = json.loads(bench_process("plan", "suite.yaml", "--jobs", 1, "--json").stdout)
    assert again["estimate"]["total_seconds"] == 0
    seconds = sum(again["estimate"]["by_recipe"]["sft"].values())
    assert 9 * seconds == pytest.approx(ended, rel=1.0), "from the records"


def test_a_plan_measures_the_machine_once_a_day(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other methods or seeds ask for the same passes; another batch asks for others."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def seconds(old: str = "", new: str = "") -> float:
        (tmp_path / "suite.yaml").write_text(SUITE.replace(old, new))
        return json.loads(bench("plan", "suite.yaml", "--json").stdout)["estimate"]["seconds"]

    first = seconds()
    assert seconds("[sft, lora, ", "[ia3, ") == first, "no clock gives one number twice"
    assert seconds("size: 16", "size: 8") != first
    (tmp_path / "cache/bench/probes").rename(tmp_path / "old")
    for file in (tmp_path / "old").iterdir():
        os.utime(file, (0, 0))
    (tmp_path / "old").rename(tmp_path / "cache/bench/probes")
    assert seconds() != first, "the machine may be another one by now"


def test_a_record_tells_of_a_suite_that_leaves_micro_to_the_memory() -> None:
    suite = _suite(["sft"], batch={"size": 16, "max_length": 64, "micro": "auto"})
    run = make_plan(suite, "cpu")[1]
    found = _record(run)
    assert found.train
    here = found.train.model_copy(update={"environment": Environment(device="here")})
    fingerprints = Fingerprints.model_validate(run.fingerprints)
    found = found.model_copy(update={"fingerprints": fingerprints, "train": here})
    for size, micro, same in ((16, 4, True), (16, None, True), (32, 4, False)):
        record = found.model_copy(update={"batch": Batch(size=size, max_length=64, micro=micro)})
        assert alike(record, suite, run, "here") is same


def test_a_file_that_is_sorted_by_length_is_forecast_as_any_other(tmp_path: Path) -> None:
    """The probe looks at rows from all of the file, not at its short beginning."""
    lengths = [2] * (3 * SAMPLE) + [40] * SAMPLE
    rows = [json.dumps({"prompt": "a " * length, "completion": " b"}) for length in lengths]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    files = {"train": "rows.jsonl", "validation": "rows.jsonl"}
    source = {"prompt-completion": {"path": "json", "data_files": files}}
    tasks = {"mine": source | {"evaluate": "arc_easy"}}
    suite = _suite(["sft"], tmp_path, target="mine", tasks=tasks)
    found = _Probe(suite, torch.device("cpu"), torch.float32)._per_row
    texts = ["a " * length + " b" for length in lengths]
    whole = sum(map(len, load_tokenizer(suite.start())(texts)["input_ids"]))
    assert found == pytest.approx(whole / len(lengths) + 1, rel=0.05)
