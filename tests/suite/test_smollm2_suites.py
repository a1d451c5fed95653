"""The suites on real data: without data they say what is missing; with files of the same layout
they can be planned.
"""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset

from bench.data.formats import Format
from bench.evaluation.lm_eval_tasks import load_tasks
from bench.suite.file import load, resolved
from bench.suite.plan import tasks

from ..conftest import ROOT, Bench

BASES = {
    "sentiment": "base-s0-551c304d2b",
    "sentiment-curve": "base-s0-d33997ab8d",
    "sentiment-reward": "base-s0-37ab6e1984",
    "sentiment-reward-start": "base-s0-37ab6e1984",
    "science": "base-s0-f95a0850b0",
    "domain": "base-s0-fbf2f950e0",
    "domain-20": "base-s0-2148fa47ee",
    "domain-5": "base-s0-6442af2970",
    "alignment": "base-s0-f3a72549c3",
    "alignment-start": "base-s0-f3a72549c3",
    "words": "base-s0-d1ca0847af",
    "instruct": "base-s0-56b31b0479",
    "solar": "base-s0-f95a0850b0",
}
"""By suite, the run of the base on the data below: its id stands for the tasks, and for every file
that they call. Where one changes, no published record can be resumed or confirmed any more."""
NAMES = tuple(BASES)
LABELS = ("INHIBITOR", "SUBSTRATE", "AGONIST")


def _suites(folder: Path) -> Path:
    """A copy of the suites on the tiny model, in a repository that has no data."""
    here = folder / "suites/smollm2"
    shutil.copytree(ROOT / "suites/smollm2", here)
    for name in NAMES:
        text = (here / f"{name}.yaml").read_text()
        (here / f"{name}.yaml").write_text(text.replace("model: smollm2", "model: tiny"))
    return here


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _data(data: Path) -> None:
    """A few made-up rows of every file, in the layout that the README describes."""
    for name in ("train", "dev", "test"):
        films = [{"text": f"film {i} of {name}", "label": "positive"} for i in range(20)]
        _write(data / f"sst2-{name}.jsonl", films)
        relations = [{"text": f"<< a{i} >> [[ b ]]", "label": LABELS[i % 3]} for i in range(20)]
        _write(data / f"chemprot/{name}.jsonl", relations)
    _write(data / "chemprot/biomedical-abstracts.jsonl", [{"text": f"cell {i}"} for i in range(40)])
    for name in ("arc_easy", "openbookqa", "boolq", "piqa", "social_i_qa"):
        for split in ("train", "test"):
            asked = [
                {"question": f"{split} {i}?", "choices": ["yes", "no"], "answer": i % 2}
                for i in range(20)
            ]
            _write(data / f"choice/{name}-{split}.jsonl", asked)
    for name in ("mawps-train", "mawps-test", "multiarith-test"):
        problems = [{"question": f"{name} {i} + 1 ?", "answer": str(i + 1)} for i in range(20)]
        _write(data / f"words/{name}.jsonl", problems)
    shared = json.loads((data / "words/multiarith-test.jsonl").read_text().splitlines()[0])
    with (data / "words/mawps-train.jsonl").open("a") as file:
        file.write(json.dumps(shared) + "\n")
    config = yaml.safe_load((ROOT / "suites/smollm2/tasks/blimp.yaml").read_text())
    for name in config["dataset_kwargs"]["data_files"]["test"]:
        pairs = [{"sentence_good": f"it is {i}", "sentence_bad": f"it are {i}"} for i in range(20)]
        _write(data / "blimp" / Path(name).name, pairs)
    for name in ("valid", "test"):
        lines = [" \n", " = A heading = \n", *(f" Paragraph {i} . \n" for i in range(40))]
        (data / f"wikitext2-{name}.txt").write_text("".join(lines))
    talk = "\n\nHuman: question {0}\n\nAssistant: one\n\nHuman: more\n\nAssistant: {1}"
    short = "\n\nHuman: short {0}\n\nAssistant: {1}"
    _write(
        data / "hh-rlhf-harmless.jsonl",
        [
            {"chosen": form.format(i, "no"), "rejected": form.format(i, "yes")}
            for i in range(400)
            for form in (talk, short)
        ],
    )


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    here = _suites(tmp_path)
    _data(tmp_path / "data")
    runpy.run_path(str(here / "prepare.py"))["main"](tmp_path / "data")
    return here


@pytest.mark.parametrize("name", NAMES)
def test_without_data_a_suite_says_what_is_missing_and_where_to_get_it(
    name: str, bench: Bench, tmp_path: Path
) -> None:
    here = _suites(tmp_path)
    result = bench("plan", here / f"{name}.yaml")
    assert result.returncode == 2
    assert "there is no data file" in result.stderr
    assert f"{here}/README.md says where to get it" in result.stderr
    assert "local.yaml has" in result.stderr, "the line is that of the tasks file"
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_with_data_a_suite_can_be_planned(name: str, bench: Bench, suites: Path) -> None:
    result = bench("plan", suites / f"{name}.yaml", "--json")
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["runs"][0]["id"] == BASES[name], "published records are of other tasks"
    again = suites / "again.yaml"
    again.write_text(plan["suite"])
    same = json.loads(bench("plan", again, "--json").stdout)
    assert same["runs"] == plan["runs"], "the stored suite holds its tasks"
    assert str(suites.parent) not in plan["suite"]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_rows_and_no_test_row(name: str, suites: Path) -> None:
    suite = load(suites / f"{name}.yaml")
    for task in tasks(suite, [*suite.target, *suite.retain]):
        for format in task.formats:
            rows = task.load(format, "train")
            assert len(rows) and len(task.load(format, "validation"))
            if format is Format.LANGUAGE_MODELING:
                assert not any("heading" in text or not text.strip() for text in rows["text"])
            if task.name == "mawps":
                assert not any("test" in prompt for prompt in rows["prompt"])
    if name == "alignment":
        data = suites.parent.parent / "data"
        lines = (data / "hh-rlhf-harmless-judge.jsonl").read_text().splitlines()
        judges = {json.loads(line)["prompt"][0]["content"] for line in lines}
        lines = (data / "hh-rlhf-harmless-test.jsonl").read_text().splitlines()
        tests = {json.loads(line)["question"] for line in lines}
        trained = tasks(suite, suite.target)[0].load(Format.PREFERENCE, "train")["prompt"]
        methods = {turns[0]["content"] for turns in trained}
        assert methods and judges and tests
        assert not methods & judges
        assert not tests & (methods | judges)


def test_the_hub_and_local_files_differ_in_one_line(suites: Path) -> None:
    file = suites / "sentiment.yaml"
    names = set(yaml.safe_load((suites / "tasks/local.yaml").read_text()))
    assert names == set(yaml.safe_load((suites / "tasks/hub.yaml").read_text()))
    file.write_text(file.read_text().replace("tasks/local.yaml", "tasks/hub.yaml"))
    suite = load(file)
    assert suite.tasks["sst2"].prompt_completion is not None
    assert suite.tasks["sst2"].prompt_completion.path == "nyu-mll/glue"
    assert set(suite.tasks) == {"sst2", "blimp", "piqa", "arc-easy", "wikitext"}
    assert "local.yaml" not in resolved(suite)


def test_sst2_of_the_hub_can_be_tuned_on(suites: Path, tmp_path: Path) -> None:
    """Its test split has no labels: the last tenth of the training rows chooses, the validation
    split is the test.
    """
    hub = tmp_path / "hub/sst2"
    hub.mkdir(parents=True)
    for split, count in (("train", 100), ("validation", 20), ("test", 20)):
        rows = [{"sentence": f"film {i} of {split}", "label": i % 2} for i in range(count)]
        Dataset.from_list(rows).to_parquet(str(hub / f"{split}-00000-of-00001.parquet"))
    files = [{"split": s, "path": f"sst2/{s}-*"} for s in ("train", "validation", "test")]
    card = {"configs": [{"config_name": "sst2", "data_files": files}]}
    (hub.parent / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n")
    for file in (suites / "tasks").glob("*hub.yaml"):
        file.write_text(file.read_text().replace("nyu-mll/glue", str(hub.parent)))
    file = suites / "sentiment.yaml"
    file.write_text(file.read_text().replace("tasks/local.yaml", "tasks/hub.yaml"))
    (task,) = tasks(load(file), ["sst2"])
    learned = set(task.load(Format.PROMPT_COMPLETION, "train")["prompt"])
    chosen = task.load(Format.PROMPT_COMPLETION, "validation")["prompt"]
    assert (len(learned), len(chosen)) == (90, 10) and not learned & set(chosen)
    pairs = task.load(Format.PREFERENCE, "train")
    assert set(pairs["chosen"]) == set(pairs["rejected"]) == {" negative", " positive"}
    asked = [load_tasks(task, split)["sst2"].eval_docs for split in ("validation", "test")]
    assert [len(docs) for docs in asked] == [10, 20]
    assert asked[0]["sentence"] == [prompt.partition("\n")[0] for prompt in chosen]
