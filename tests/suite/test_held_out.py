"""Rows that are held out of training where there is no validation split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.data.formats import Format
from bench.data.tasks import Task, find_task
from bench.suite import file as suite_file

from ..conftest import Bench
from .own import SUITE, edit, jsonl, rows

WITHOUT = SUITE.replace(", validation: data/dev.jsonl", "").replace(
    "    evaluate",
    """\
    language-modeling:
      path: json
      data_files: data/train.jsonl
      text: "{text}"
    evaluate""",
)


def task_in(folder: Path) -> Task:
    suite = suite_file.load(folder / "own.yaml")
    return find_task("reviews", suite.tasks, suite.folder)


def held_out(task: Task) -> tuple[list[str], list[str]]:
    """What is held out in two formats, as plain texts."""
    prompts = task.load(Format.PROMPT_COMPLETION, "validation")["prompt"]
    texts = task.load(Format.LANGUAGE_MODELING, "validation")["text"]
    return [p.removesuffix(" It was") for p in prompts], list(texts)


def test_a_long_text_is_cut_but_not_where_it_is_packed(bench: Bench, own: Path) -> None:
    (own / "own.yaml").write_text(WITHOUT.replace("max_length: 64", "max_length: 8"))
    edit(own / "own.yaml", "methods: [sft]", "methods: [sft, dapt]")
    short = rows("train", 20)
    jsonl(own, "train", short + [{**row, "text": row["text"] * 9} for row in short])
    lines = " ".join(bench("plan", "own.yaml").stdout.split())
    told = "of the rows of reviews (language-modeling) are longer than max_length 8, but not for a"
    assert told in lines
    assert "(prompt-completion) are longer than max_length 8 " in lines


def test_training_rows_are_held_out_where_there_is_no_validation_split(
    bench: Bench, own: Path
) -> None:
    twice = rows("train", 300)
    jsonl(own, "train", [*twice, *reversed(twice)])
    (own / "own.yaml").write_text(WITHOUT)
    result = bench("plan", "own.yaml")
    assert result.returncode == 0, result.stderr
    task = task_in(own)
    held, texts = held_out(task)
    said = f"reviews: no validation split; {len(held)} of 600 training rows are held out by their"
    assert result.stdout.count(said) == 1
    assert held == texts, "the same rows in every format"
    assert 0.04 < len(held) / 600 < 0.2
    assert sorted(held) == sorted([*dict.fromkeys(held)] * 2), "rows of one content stay together"
    for format, column in (
        (Format.PROMPT_COMPLETION, "prompt"),
        (Format.LANGUAGE_MODELING, "text"),
    ):
        trained = {t.removesuffix(" It was") for t in task.load(format, "train")[column]}
        assert len(trained) == 300 - len(set(held)) and not trained & set(held)


def test_what_is_held_out_is_a_matter_of_content_alone(own: Path) -> None:
    (own / "own.yaml").write_text(WITHOUT)
    jsonl(own, "train", rows("train", 100))
    first, _ = held_out(task_in(own))
    assert first[:3] == ["train 21", "train 22", "train 29"], "on every machine"
    jsonl(own, "train", [*reversed(rows("train", 100)), {"label": "new", "text": "one more"}])
    again, _ = held_out(task_in(own))
    assert set(first) == set(again) - {"one more"}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_few_rows_are_divided_too(own: Path, count: int) -> None:
    (own / "own.yaml").write_text(WITHOUT)
    jsonl(own, "train", rows("few", count))
    task = task_in(own)
    held = len(task.load(Format.PROMPT_COMPLETION, "validation"))
    assert 1 <= held < count
    assert len(task.load(Format.PROMPT_COMPLETION, "train")) == count - held


def test_one_row_is_too_few(bench: Bench, own: Path) -> None:
    (own / "own.yaml").write_text(WITHOUT)
    jsonl(own, "train", rows("alone", 1))
    result = bench("plan", "own.yaml")
    assert result.returncode == 2
    assert "data/train.jsonl: it has one row, so none can be held out" in result.stderr


def test_the_resolved_suite_holds_out_the_same_rows(bench: Bench, own: Path) -> None:
    (own / "own.yaml").write_text(WITHOUT)
    first = json.loads(bench("plan", "own.yaml", "--json").stdout)
    (own / "again.yaml").write_text(first["suite"])
    again = json.loads(bench("plan", "again.yaml", "--json").stdout)
    assert again["runs"] == first["runs"] and again["data"] == first["data"]


@pytest.mark.slow
def test_a_suite_without_validation_data_runs(bench_process: Bench, own: Path) -> None:
    (own / "own.yaml").write_text(WITHOUT)
    result = bench_process("run", "own.yaml", "--json")
    assert result.returncode == 0, result.stderr
    (record,) = (own / "results/own/records").glob("sft-*.json")
    assert json.loads(record.read_text())["train"]["objective"][0]["after"]["values"]["nll"] > 0
