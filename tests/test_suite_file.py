"""Mistakes in a suite file: one screen, the line, the nearest right word, exit code 2, never a
traceback.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import Bench

GOOD = """\
suite: small
model: tiny
target: tiny/smallest
retain: [tiny/add]
budget: {tokens: 2k}
batch: {size: 8, max_length: 64}
seeds: 1
methods:
  - sft
  - lora: {r: 4}
    as: lora-4
"""

MISTAKES = {
    "misspelt method": ("- sft", "- stf", ["line 9", "no method stf", "did you mean sft?"]),
    "negative budget": ("2k", "-5", ["line 5", "budget.tokens must be more than 0"]),
    "unknown key": ("retain:", "retian:", ["line 4", "unknown key retian", "did you mean retain?"]),
    "unknown key below": (
        "size: 8",
        "sise: 8",
        ["line 6", "unknown key sise", "did you mean size?"],
    ),
    "unknown parameter": (
        "r: 4",
        "rr: 4",
        ["line 10", "lora has no parameter rr", "did you mean r?"],
    ),
    "parameter out of bounds": ("r: 4", "r: 0", ["line 10", "r must be more than 0"]),
    "two currencies": (
        "{tokens: 2k}",
        "{tokens: 2k, steps: 3}",
        ["line 5", "exactly one of tokens"],
    ),
    "unknown task": (
        "tiny/add",
        "tiny/adds",
        ["line 4", "no task tiny/adds", "did you mean tiny/add?"],
    ),
    "task without data": (
        "tiny/smallest",
        "hellaswag",
        ["line 3", "hellaswag has no training data"],
    ),
    "key twice": ("seeds: 1", "seeds: 1\nseeds: 2", ["line 8", "second time, after line 7"]),
    "two rows of one name": ("as: lora-4", "as: sft", ["line 10", "two rows would be called sft"]),
    "missing model": ("model: tiny", "model: ./nowhere", ["line 2", "no model folder"]),
    "YAML syntax": ("[tiny/add]", "[tiny/add", ["line 5", "not YAML"]),
    "missing data file": (
        "seeds: 1",
        (
            "seeds: 1\ntasks:\n  mine:\n    prompt-completion:\n      path: json\n      data_files:"
            " {train: nope.jsonl}\n    evaluate: nope.yaml"
        ),
        ["line 12", "no data file", "nope.jsonl", "line 13", "no lm-eval task file"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_line(name: str, bench: Bench, tmp_path: Path) -> None:
    old, new, expected = MISTAKES[name]
    file = tmp_path / "suite.yaml"
    file.write_text(GOOD.replace(old, new, 1))
    result = bench("run", file)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) < 24
    for words in expected:
        assert words in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_missing_suite_file_is_told(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(GOOD)
    result = bench("run", "smal.yaml")
    assert result.returncode == 2
    assert "did you mean small.yaml?" in result.stderr


def test_the_plan_resolves_every_default_and_runs_nothing(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(GOOD)
    result = bench("plan", "suite.yaml", "--json")
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    assert [run["recipe"] for run in plan["runs"]] == ["base", "sft", "lora-4"]
    assert plan["estimate"]["tokens"] == 2000
    assert plan["estimate"]["seconds"] > 0
    resolved = yaml.safe_load(plan["suite"])
    assert resolved["split"] == "test"
    assert (
        resolved["methods"][1]["lora"] | {"target_modules": "all-linear", "r": 4}
        == resolved["methods"][1]["lora"]
    )
    assert not (tmp_path / "results").exists()
    again = tmp_path / "again.yaml"
    again.write_text(plan["suite"])
    assert json.loads(bench("plan", again, "--json").stdout)["runs"] == plan["runs"], (
        "the resolved suite is the same suite"
    )


def test_a_run_is_known_by_its_content(bench: Bench, tmp_path: Path) -> None:
    def ids(text: str) -> dict[str, str]:
        (tmp_path / "suite.yaml").write_text(text)
        return {
            run["recipe"]: run["id"]
            for run in json.loads(bench("plan", "suite.yaml", "--json").stdout)["runs"]
        }

    first = ids(GOOD)
    assert ids(GOOD.replace("suite: small", "suite: renamed")) == first
    other_rank = ids(GOOD.replace("r: 4", "r: 8"))
    assert other_rank["sft"] == first["sft"]
    assert other_rank["lora-4"] != first["lora-4"]
    more_budget = ids(GOOD.replace("2k", "3k"))
    assert more_budget["base"] == first["base"]
    assert more_budget["sft"] != first["sft"]


def test_the_schema_knows_suite_keys_and_installed_methods(bench: Bench) -> None:
    schema = json.loads(bench("schema").stdout)
    assert set(yaml.safe_load(GOOD)) <= set(schema["properties"])
    entry = schema["properties"]["methods"]["items"]["anyOf"]
    assert "sft" in entry[0]["enum"]
    assert "r" in entry[1]["properties"]["lora"]["properties"]


def test_looking_at_the_installed_methods_loads_no_model_library() -> None:
    code = (
        "import sys; from bench.methods import registry; registry.plugins(); registry.mergers();"
        " print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"bench_peft.methods", "bench_rl", "bench_preference.dpo"} <= set(loaded)
    assert not {"torch", "transformers", "datasets", "peft", "trl"} & set(loaded)
