"""Data in folders: they start at the suite file, and what lies in them is part of a run's id."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Bench

SUITE = """\
suite: own
model: tiny
target: sums
budget: {tokens: 1k}
batch: {size: 4, max_length: 32}
seeds: 1
methods: [sft]
tasks:
  sums:
    prompt-completion: SOURCE
    evaluate: sums.yaml
"""
EVALUATION = """\
task: sums
dataset_path: json
dataset_kwargs: {data_dir: items}
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{completion}}"
metric_list: [{metric: exact_match}]
"""
SOURCES = ["{path: ./data}", "{path: data}", "{path: json, data_dir: data}"]


def _write(folder: Path, source: str) -> None:
    for place, count in (("data/train", 12), ("data/validation", 3), ("items/test", 4)):
        file = folder / f"{place}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"prompt": f"{place} {n}", "completion": f" {n}"} for n in range(count)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "own.yaml").write_text(SUITE.replace("SOURCE", source))
    (folder / "sums.yaml").write_text(EVALUATION)


def _plan(bench: Bench, file: Path) -> Any:
    result = bench("plan", file, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def _ids(plan: Any) -> list[str]:
    return [run["id"] for run in plan["runs"]]


@pytest.mark.parametrize("source", SOURCES)
def test_a_folder_starts_at_the_suite_file(bench: Bench, tmp_path: Path, source: str) -> None:
    """The working folder is another one."""
    _write(tmp_path / "mine", source)
    before = _plan(bench, tmp_path / "mine/own.yaml")
    (found,) = before["data"]["sources"]
    assert (found["training_rows"], found["validation_rows"]) == (12, 3)

    shutil.move(tmp_path / "mine", tmp_path / "moved")
    assert _ids(_plan(bench, tmp_path / "moved/own.yaml")) == _ids(before)
    for name in ("data/train.jsonl", "items/test.jsonl"):
        ids = _ids(_plan(bench, tmp_path / "moved/own.yaml"))
        with (tmp_path / "moved" / name).open("a") as file:
            file.write('{"prompt": "more", "completion": " 1"}\n')
        assert _ids(_plan(bench, tmp_path / "moved/own.yaml")) != ids, name


def test_a_folder_in_a_file_of_tasks_starts_there(bench: Bench, tmp_path: Path) -> None:
    for place, source in (("one", "{path: ./tasks/data}"), ("other/tasks", "{path: data}")):
        _write(tmp_path / place, source)
    (tmp_path / "one/tasks").mkdir()
    shutil.move(tmp_path / "one/data", tmp_path / "one/tasks/data")
    suite, _, tasks = (tmp_path / "other/tasks/own.yaml").read_text().partition("tasks:\n")
    (tmp_path / "other/tasks/all.yaml").write_text(tasks.replace("\n  ", "\n")[2:])
    (tmp_path / "other/own.yaml").write_text(suite + "tasks: tasks/all.yaml\n")
    one = (tmp_path / "one/own.yaml").read_text()
    (tmp_path / "one/own.yaml").write_text(one.replace("sums.yaml", "tasks/sums.yaml"))
    for name in ("sums.yaml", "items"):
        shutil.move(tmp_path / "one" / name, tmp_path / "one/tasks" / name)
    plans = [_plan(bench, tmp_path / place / "own.yaml") for place in ("one", "other")]
    assert _ids(plans[0]) == _ids(plans[1])


@pytest.mark.parametrize("source", SOURCES[::2])
def test_a_missing_folder_is_told(bench: Bench, tmp_path: Path, source: str) -> None:
    _write(tmp_path, source)
    shutil.rmtree(tmp_path / "data")
    told = bench("plan", "own.yaml").stderr
    assert f"line 10: there is no data folder {tmp_path / 'data'}" in told
    _write(tmp_path, source)
    shutil.rmtree(tmp_path / "items")
    assert f"there is no data folder {tmp_path / 'items'}" in bench("plan", "own.yaml").stderr


def test_a_folder_of_the_working_folder_is_not_taken(bench: Bench, tmp_path: Path) -> None:
    _write(tmp_path / "mine", "{path: data}")
    shutil.move(tmp_path / "mine/data", tmp_path / "data")
    told = bench("plan", "mine/own.yaml").stderr
    assert "data is a folder where you work, and none beside the suite file" in told
