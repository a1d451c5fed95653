"""Mistakes in a suite file: one screen, the line, the nearest right word, exit code 2, never a
traceback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from bench.publish.gather import suites_in

from ..conftest import ROOT, Bench

Plugin = Callable[[str, str], str]
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
    "nothing near": (
        "- sft",
        "- side-adapter",
        ["line 9", "no method side-adapter (bench methods"],
    ),
    "another case": ("- sft", "- SFT", ["line 9", "did you mean sft?"]),
    "other order of words": ("- sft", "- tuning-prompt", ["line 9", "did you mean prompt-tuning?"]),
    "micro does not divide": ("size: 8", "size: 8, micro: 3", ["line 6", "8 is no multiple of 3"]),
    "no time": (
        "seeds: 1",
        "seeds: 1\ntime_limit: 0",
        ["line 8", "time_limit must be more than 0"],
    ),
    "folder": ("seeds: 1", "seeds: 1\nfolder: /tmp", ["line 8", "unknown key folder"]),
    "number as key": ("r: 4", "4: r", ["line 10", "a key must be a word"]),
    "list as key": ("seeds: 1", "? [a, b]\n: 1", ["line 7", "a key must be a word"]),
    "alias of itself": ("seeds: 1", "seeds: &a [*a]", ["more than 10,000 values"]),
    "nested aliases": (
        "seeds: 1",
        "x0: &x0 [1, 1]\n" + "".join(f"x{i}: &x{i} [*x{i - 1}, *x{i - 1}]\n" for i in range(1, 40)),
        ["more than 10,000 values"],
    ),
    "deep nesting": ("seeds: 1", "seeds: " + "[" * 2000, ["nested too deeply"]),
    "impossible date": ("seeds: 1", "seeds: 2024-99-99", ["is not YAML"]),
    "two currencies": (
        "{tokens: 2k}",
        "{tokens: 2k, steps: 3}",
        ["line 5", "exactly one of tokens"],
    ),
    "budget of nothing": ("2k", "null", ["line 5", "give exactly one of tokens"]),
    "unknown key of a chat": (
        "seeds: 1",
        "seeds: 1\nchat: {templte: x}",
        [
            "line 8",
            "unknown key templte",
            "did you mean template?",
            "known here: system, template)",
        ],
    ),
    "unknown architecture": (
        "model: tiny",
        "model: {random: lama}",
        ["line 2", "knows no causal language model lama; did you mean llama?"],
    ),
    "impossible architecture": (
        "model: tiny",
        "model: {random: llama, hidden_size: many}",
        ["line 2", "the configuration of llama cannot be built"],
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


def test_a_binary_suite_file_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_bytes(bytes(range(256)))
    result = bench("plan", "suite.yaml")
    assert result.returncode == 2
    assert "suite.yaml is not a text file in UTF-8" in result.stderr
    assert "Traceback" not in result.stderr


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


def test_memory_and_time_do_not_change_what_a_run_is(bench: Bench, tmp_path: Path) -> None:
    def runs(text: str) -> list[dict[str, object]]:
        (tmp_path / "suite.yaml").write_text(text)
        return json.loads(bench("plan", "suite.yaml", "--json").stdout)["runs"]

    frugal = GOOD.replace("size: 8", "size: 8, micro: 2, checkpointing: true")
    assert runs(frugal.replace("seeds: 1", "seeds: 1\ntime_limit: 60")) == runs(GOOD)
    assert runs(GOOD.replace("size: 8", "size: 16")) != runs(GOOD)


PUBLISHED = [
    folder.name
    for folder in suites_in(ROOT / "results")
    if (ROOT / f"suites/{folder.name}.yaml").is_file()
]
"""On the embedded model, so that anybody can plan them."""


@pytest.mark.skipif(torch.cuda.is_available(), reason="published on a CPU, which the ids say")
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_suites_ask_for_the_published_runs(bench: Bench, name: str) -> None:
    planned = json.loads(bench("plan", ROOT / f"suites/{name}.yaml", "--json").stdout)
    published = json.loads((ROOT / f"results/{name}/plan.json").read_text())["runs"]
    known = [run["id"] for run in planned["runs"]]
    assert published[: len(known)] == known
    to_come = published[len(known) :]  # the trials chose them
    assert all("--tuned--s" in run for run in to_come)
    assert len(to_come) == planned.get("to_come", 0), "and there is one for every one announced"


def test_the_plan_names_rows_that_will_be_skipped(
    bench_process: Bench, plugin: Plugin, tmp_path: Path
) -> None:
    site = plugin("broken", "raise RuntimeError('no driver')")
    (tmp_path / "suite.yaml").write_text(
        GOOD.replace("retain: [tiny/add]\n", "").replace("size: 8", "size: 1")
        + "  - replay\n  - bitfit\n  - kto\n  - broken\n  - chain: [sft, replay]\n"
    )
    path = f"{site}:{os.environ.get('PYTHONPATH', '')}"
    result = bench_process("plan", "suite.yaml", "--json", PYTHONPATH=path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)["obstacles"]
    assert set(found) == {"replay", "bitfit", "kto", "broken", "sft+replay"}
    assert "no retained task or earlier target" in found["replay"]
    assert "no biases" in found["bitfit"]
    assert "RuntimeError: no driver" in found["broken"]
    shown = bench_process("plan", "suite.yaml", PYTHONPATH=path).stdout
    assert "broken will be skipped: broken of plugin_broken 1.0 cannot be used" in shown
    assert not (tmp_path / "results").exists()


def test_the_plan_says_that_a_step_is_not_the_same_for_all(bench: Bench, tmp_path: Path) -> None:
    start = "suite: s\nmodel: tiny\ntarget: tiny/smallest\nseeds: 1\nmethods:\n  - sft\n  - lora\n"

    def told(budget: str, more: str = "") -> str | None:
        (tmp_path / "suite.yaml").write_text(f"{start}{more}budget: {budget}\n")
        return json.loads(bench("plan", "suite.yaml", "--json").stdout)["unequal"]

    assert told("{steps: 10}") is None
    assert told("{tokens: 10k}", "  - dapt\n") is None
    said = told("{steps: 10}", "  - dapt\n  - ppo\n  - chain: [sft, dpo]\n")
    assert said is not None
    assert (
        "prompts and completions: sft, lora; plain text: dapt; completions that it samples: ppo;"
        in said
    )
    assert "prompts and completions and pairs: sft+dpo" in said
    assert "in samples" in (told("{samples: 100}", "  - dapt\n") or "")


@pytest.mark.parametrize("end", ["import sys; sys.exit()", "raise SystemExit(3)", "exit('bye')"])
def test_a_plugin_that_exits_silences_nothing(
    bench_process: Bench, plugin: Plugin, end: str
) -> None:
    path = f"{plugin('rude', end)}:{os.environ.get('PYTHONPATH', '')}"
    result = bench_process("methods", "--json", PYTHONPATH=path)
    assert result.returncode == 0, result.stderr
    found = {method["name"]: method for method in json.loads(result.stdout)}
    assert found["rude"]["problem"] == "it called sys.exit when it was imported"
    assert found["sft"]["problem"] is None


def test_the_schema_knows_suite_keys_and_installed_methods(bench: Bench) -> None:
    schema = json.loads(bench("schema").stdout)
    assert set(yaml.safe_load(GOOD)) <= set(schema["properties"])
    entry = schema["properties"]["methods"]["items"]["anyOf"]
    assert "folder" not in schema["properties"]
    assert "sft" in entry[0]["enum"]
    lora = entry[1]["properties"]["lora"]["properties"]
    assert "r" in lora
    rate, searched = lora["lr"]["anyOf"]
    assert rate["type"] == "number" and searched["required"] == ["low", "high"]


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
