"""Tasks of one's own in a file of their own, with Jinja, on some items only."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.data.formats import Format
from bench.data.tasks import TaskSpec, find_task
from bench.evaluation.lm_eval import open_model, score
from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec
from bench.system.errors import UserError

from ..conftest import Bench

TASKS = """\
sizes:
  prompt-completion:
    path: json
    data_files: {train: data/train.jsonl, validation: data/test.jsonl}
    prompt: "Which is larger, {one} or {other}? It is"
    completion: " {larger}"
  evaluate: sizes.yaml
"""
SUITE = """\
suite: own
model: tiny
target: sizes
budget: {tokens: 3k}
batch: {size: 8, max_length: 32}
seeds: 1
methods: [sft]
tasks: tasks/mine.yaml
"""
EVALUATION = """\
task: sizes
dataset_path: json
dataset_kwargs: {data_files: {test: [data/test.jsonl, data/more.jsonl]}}
test_split: test
output_type: multiple_choice
doc_to_text: "Which is larger, {{one}} or {{other}}? It is"
doc_to_choice: "{{[one|string, other|string]}}"
doc_to_target: "{{0 if larger == one else 1}}"
"""


def _write(folder: Path, tasks: str = TASKS) -> None:
    """A suite whose tasks stand in a folder of their own, from which their paths start."""
    for name in ("data", "tasks"):
        (folder / name).mkdir(parents=True)
    pairs = [(a, b) for a in range(10, 20) for b in range(10, 20) if a != b]
    for name, chosen in (("train", pairs[::2]), ("test", pairs[1::8]), ("more", pairs[3::8])):
        rows = [json.dumps({"one": a, "other": b, "larger": max(a, b)}) for a, b in chosen]
        (folder / "data" / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "own.yaml").write_text(SUITE)
    (folder / "sizes.yaml").write_text(EVALUATION)
    moved = tasks.replace("data/", "../data/").replace("sizes.yaml", "../sizes.yaml")
    (folder / "tasks/mine.yaml").write_text(moved)


def test_tasks_in_a_file_are_the_same_as_in_the_suite(bench: Bench, tmp_path: Path) -> None:
    unused = "unused:\n  prompt-completion: {path: json, data_files: nowhere.jsonl}\n"
    _write(tmp_path, TASKS + unused)
    result = bench("plan", "own.yaml", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    inside = "tasks:\n" + "".join(f"  {line}\n" for line in TASKS.splitlines())
    (tmp_path / "own.yaml").write_text(SUITE.replace("tasks: tasks/mine.yaml\n", inside))
    expected = json.loads(bench("plan", "own.yaml", "--json").stdout)
    assert found["runs"] == expected["runs"]
    assert found["suite"] == expected["suite"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("path: json", "paht: json", ["mine.yaml", "line 3", "unknown key paht"]),
        ("train.jsonl", "tarin.jsonl", ["mine.yaml", "line 4", "no data file", "tarin.jsonl"]),
        ("sizes:", "size:", ["own.yaml", "line 3", "did you mean size?"]),
        (TASKS, "- sizes", ["mine.yaml is no tasks file", "names to tasks"]),
    ],
)
def test_a_mistake_in_a_file_of_tasks_is_told_with_its_line(
    bench: Bench, tmp_path: Path, old: str, new: str, told: list[str]
) -> None:
    _write(tmp_path, TASKS.replace(old, new, 1))
    result = bench("plan", "own.yaml")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert all(words in result.stderr for words in told), result.stderr


def test_a_missing_file_of_tasks_is_told(bench: Bench, tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "tasks/mine.yaml").unlink()
    result = bench("plan", "own.yaml")
    assert result.returncode == 2
    assert "line 8: there is no tasks file" in result.stderr


def test_the_schema_takes_a_file_of_tasks(bench: Bench) -> None:
    tasks = json.loads(bench("schema").stdout)["properties"]["tasks"]
    assert {form["type"] for form in tasks["anyOf"]} == {"object", "string"}


def _rows(tmp_path: Path, **source: str) -> list[dict[str, Any]]:
    rows = [{"q": "one", "choices": ["a", "b"], "answer": 1}, {"q": "", "choices": [], "answer": 0}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = {"train": "rows.jsonl", "validation": "rows.jsonl"}
    spec = {"ranking": {"path": "json", "data_files": files, **source}}
    task = find_task("mine", {"mine": TaskSpec.model_validate(spec)}, tmp_path)
    return [dict(row) for row in task.load(Format.RANKING, "train")]


def test_templates_may_be_jinja_as_in_lm_eval(tmp_path: Path) -> None:
    prompt = "Q: {{q|upper}}\n{{choices[answer]}}\n"
    found = _rows(tmp_path, where="q", prompt=prompt, completions="choices", scores="[0.5, answer]")
    assert found == [{"prompt": "Q: ONE\nb\n", "completions": ["a", "b"], "scores": [0.5, 1.0]}]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("{question}", "no column 'question'; it has q, choices, answer"),
        ("{{question}}", "no column 'question'; it has q, choices, answer"),
        ("{{q", "is not Jinja"),
        ("{choices[answer]}", "Double braces hold Jinja"),
    ],
)
def test_a_template_that_does_not_fit_is_told(tmp_path: Path, prompt: str, told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        _rows(tmp_path, prompt=prompt, completions="choices", scores="[1, 0]")


def test_items_are_spread_over_the_whole_split(tmp_path: Path) -> None:
    _write(tmp_path)
    spec = TaskSpec(evaluate="sizes.yaml", items=5)
    task = find_task("sizes", {"sizes": spec}, tmp_path)
    model = ModelSpec(path="tiny")
    cpu = torch.device("cpu")
    lm = open_model(load_model(model, torch.float32, cpu), load_tokenizer(model), 4, cpu)
    (few,) = score(lm, task, "test")
    whole = find_task("sizes", {"sizes": TaskSpec(evaluate="sizes.yaml")}, tmp_path)
    (every,) = score(lm, whole, "test")
    count = len(every.items)
    assert list(few.items) == [i * count // 5 for i in range(5)]
    assert few.items == {i: every.items[i] for i in few.items}
    assert task.fingerprint != whole.fingerprint


def test_a_task_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    spec = {"sizes": TaskSpec(evaluate="sizes.yaml")}
    places = (tmp_path / "one", tmp_path / "other")
    for place in places:
        _write(place)
    one, other = (find_task("sizes", spec, place).fingerprint for place in places)
    assert one == other
    (tmp_path / "other/data/more.jsonl").write_text('{"one": 1, "other": 2, "larger": 2}\n')
    assert find_task("sizes", spec, places[1]).fingerprint != one
