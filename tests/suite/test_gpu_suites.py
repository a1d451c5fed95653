"""The suites for a GPU can be planned: those of the Hub on local data of the same layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset

from ..conftest import ROOT, Bench

Row = dict[str, Any]
TURNS = ("user", "assistant")
SPEED = ("speed-0.5b", "speed-1b", "speed-1b-long", "speed-3b")


def preference(i: int) -> Row:
    def talk(answer: str) -> list[dict[str, str]]:
        said = zip(TURNS, (f"question {i}", answer), strict=True)
        return [{"role": role, "content": content} for role, content in said]

    graded = {"score_chosen": 8.0, "score_rejected": 3.0}
    return {
        "prompt": f"question {i}",
        "chosen": talk(f"good {i}"),
        "rejected": talk("bad"),
        **graded,
    }


def problem(i: int) -> Row:
    return {"question": f"What is {i} + 1?", "answer": f"It is {i + 1}.\n#### {i + 1}"}


def rewritten(i: int) -> Row:
    return {"query": f"What is 1 + {i}?", "response": f"1 + {i}. The answer is: {i + 1}"}


LAYOUTS: dict[str, tuple[str, tuple[str, ...], Callable[[int], Row]]] = {
    "HuggingFaceH4/ultrafeedback_binarized": ("default", ("train_prefs", "test_prefs"), preference),
    "openai/gsm8k": ("main", ("train", "test"), problem),
    "meta-math/MetaMathQA": ("default", ("train",), rewritten),
    "Salesforce/wikitext": (
        "wikitext-2-raw-v1",
        ("train", "validation", "test"),
        lambda i: {"text": f"Paragraph {i} says little ."},
    ),
}


def local(folder: Path, layout: tuple[str, tuple[str, ...], Callable[[int], Row]]) -> None:
    """A data set with its configuration and splits, as a folder."""
    config, splits, row = layout
    (folder / config).mkdir(parents=True)
    for number, split in enumerate(splits):
        rows = [row(1000 * number + i) for i in range(200)]
        Dataset.from_list(rows).to_parquet(str(folder / config / f"{split}-00000-of-00001.parquet"))
    files = [{"split": split, "path": f"{config}/{split}-*"} for split in splits]
    card = {"configs": [{"config_name": config, "data_files": files}]}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n")


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    """The suites on the tiny model, with local folders in place of the Hub's data sets."""
    here = tmp_path / "suites/gpu"
    shutil.copytree(ROOT / "suites/gpu", here)
    for name, layout in LAYOUTS.items():
        local(tmp_path / "hub" / name, layout)
        for file in here.rglob("*.yaml"):
            file.write_text(file.read_text().replace(name, str(tmp_path / "hub" / name)))
    return here


def on_tiny(file: Path, **changes: Any) -> dict[str, Any]:
    suite = yaml.safe_load(file.read_text()) | {"model": "tiny", "retain": ["tiny/people"]}
    suite |= changes
    file.write_text(yaml.safe_dump(suite))
    return suite


@pytest.mark.slow
@pytest.mark.parametrize("name", ["metamath", "alignment"])
def test_a_suite_of_the_hub_can_be_planned(name: str, suites: Path, bench: Bench) -> None:
    file = suites / f"{name}.yaml"
    suite = on_tiny(file, dtype="float32")
    result = bench("plan", file, "--json")
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    trials = [run for run in plan["runs"] if run["purpose"] == "trial"]
    assert len(trials) == suite["tuning"]["trials"] * len(suite["methods"])
    assert not plan["obstacles"], plan["obstacles"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SPEED)
def test_a_suite_of_shapes_can_be_planned(name: str, suites: Path, bench: Bench) -> None:
    file = suites / f"{name}.yaml"
    shape = yaml.safe_load(file.read_text())["model"]
    small = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 16}
    small |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512}
    suite = on_tiny(file, model=shape | small, dtype="float32")
    result = bench("plan", file, "--json")
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    assert len({run["recipe"] for run in plan["runs"]}) == 1 + len(suite["methods"])
    assert not plan["obstacles"], plan["obstacles"]


def test_the_number_behind_an_answer_is_found() -> None:
    """Of GSM8K's own answers and of MetaMathQA's, by the pattern that the evaluation has."""
    import re

    task = yaml.safe_load((ROOT / "suites/gpu/tasks/gsm8k.yaml").read_text())
    found = re.compile(task["filter_list"][0]["filter"][0]["regex_pattern"])
    answers = {
        "She has 3 + 4 = 7 apples.\nThe answer is: 7": "7",
        "That makes 1,250 dollars. The answer is: $1,250": "1,250",
        "He needs 2.5 hours": "2.5",
        "The answer is: -3": "-3",
    }
    assert {text: found.findall(text)[-1] for text in answers} == answers
