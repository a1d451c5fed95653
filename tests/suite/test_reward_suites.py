"""Rewards in a suite: what is told when one cannot be had, and who learns from one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import Format
from bench.data.tasks import TaskSpec, find_task
from bench.models.spec import TINY
from bench.system.errors import UserError
from bench.tiny.tasks import items

from ..conftest import Bench
from ..rewards import FUNCTIONS, judge_in

SUITE = """\
suite: own
model: tiny
target: sizes
budget: {tokens: 6k}
batch: {size: 8, max_length: 48}
seeds: 1
methods:
METHODS
tasks:
  sizes:
    prompt-only: {path: json, data_files: {train: rows.jsonl, validation: rows.jsonl}}
    reward: REWARD
    evaluate: sizes.yaml
"""
EVALUATION = """\
task: sizes
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], do_sample: false, max_gen_toks: 4}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


def _write(folder: Path, reward: str, methods: str = "  - raft", source: str = FUNCTIONS) -> None:
    rows = [
        json.dumps({"prompt": item.prompt, "answer": item.answer, "bonus": number % 5})
        for number, item in enumerate(items("largest", "train")[:64])
    ]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    (folder / "rewards.py").write_text(source)
    (folder / "sizes.yaml").write_text(EVALUATION)
    suite = SUITE.replace("METHODS", methods).replace("REWARD", reward)
    (folder / "own.yaml").write_text(suite)


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        ("numbr", "there is no reward numbr; did you mean number?"),
        ("[{number: much}]", "valid number"),
        ("{number: 1, exact: 1}", "an entry has one reward, this one has number, exact"),
        ("{model: judge, wait: 1}", "beside model: stands weight: alone, not wait"),
        ("[]", "tasks.sizes.reward"),
        ("3", "a reward is exact, number, math, choice"),
        ("reward.py:short", "there is no file"),
        ("nowhere.at.all:short", "there is no module nowhere.at.all"),
        ("rewards.py:shor", "shor does not exist in rewards.py; did you mean short?"),
        ("rewards.py:number", "number is no function"),
        ("rewards.py:strict", "does not take completion_ids"),
        ("broken.py:short", "cannot be imported: SyntaxError"),
        ("raising.py:short", "cannot be imported: ZeroDivisionError: division by zero, at line 2"),
        ("leaving.py:short", "cannot be imported: SystemExit"),
        ("{model: ./judge}", "there is no model folder"),
        ("{model: ./two}", "has 2 outputs; a reward is one number"),
        ("{model: ./chat}", "is no sequence classifier but LlamaForCausalLM"),
    ],
)
def test_a_reward_that_cannot_be_had_is_told_before_anything_trains(
    bench: Bench, tmp_path: Path, reward: str, told: str
) -> None:
    _write(tmp_path, reward)
    (tmp_path / "broken.py").write_text("def short(:\n")
    (tmp_path / "raising.py").write_text("x = 0\ny = 1 / x\n")
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit()\n")
    if "two" in reward:
        judge_in(tmp_path / "two", outputs=2)
    if "chat" in reward:
        (tmp_path / "chat").symlink_to(TINY)
    result = bench("plan", "own.yaml")
    assert result.returncode == 2, result.stdout
    assert told in " ".join(result.stderr.split()), result.stderr
    assert "line 11" in result.stderr or "line 12" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_a_file_prints_does_not_stand_in_the_plan(bench: Bench, tmp_path: Path) -> None:
    _write(tmp_path, "rewards.py:short", source="print('hello')\n" + FUNCTIONS)
    result = bench("plan", "own.yaml", "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["obstacles"] == {}
    assert "rewards.py:short: 1.0" in json.loads(result.stdout)["suite"]


def test_a_missing_package_is_told_with_how_to_install_it(bench: Bench, tmp_path: Path) -> None:
    _write(tmp_path, "math")
    result = bench("plan", "own.yaml")
    try:
        import math_verify as _  # pyright: ignore[reportMissingImports]  # noqa: F401
    except ImportError:
        assert result.returncode == 2
        assert 'pip install "finetuning-bench[math]"' in result.stderr
    else:
        assert result.returncode == 0


def test_a_reward_needs_prompts() -> None:
    source = {"path": "json"}
    with pytest.raises(ValueError, match="reward: belongs to prompt-only data"):
        TaskSpec.model_validate({"preference": source, "reward": "exact"})


def test_the_fingerprint_follows_the_function_and_nothing_else(tmp_path: Path) -> None:
    def mark(reward: Any = None, source: str = FUNCTIONS) -> str:
        _write(tmp_path, "", source=source)
        data = {"prompt-only": {"path": "json", "data_files": "rows.jsonl"}}
        spec = TaskSpec.model_validate(data | ({"reward": reward} if reward else {}))
        return find_task("own", {"own": spec}, tmp_path).fingerprint

    assert mark() == "dc211eb51c5b67ce", "as before tasks had rewards"
    assert mark() == mark(source="changed = 1")
    assert mark("rewards.py:short") == mark([{"rewards.py:short": 1.0}])
    others = [mark(), mark("number"), mark("rewards.py:short"), mark("rewards.py:later")]
    assert len(set(others) | {mark("rewards.py:short", FUNCTIONS + "# changed")}) == 5


def test_rows_keep_what_a_function_may_ask_for(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "bonus": 3, "completion": "b"}\n')
    (tmp_path / "rewards.py").write_text(FUNCTIONS)
    files = {"train": "rows.jsonl", "validation": "rows.jsonl"}
    data: Any = {"prompt-only": {"path": "json", "data_files": files, "prompt": "Q: {prompt}"}}

    def columns(reward: Any) -> Any:
        spec = TaskSpec.model_validate(data | {"reward": reward})
        return find_task("own", {"own": spec}, tmp_path).load(Format.PROMPT_ONLY, "train")[:]

    assert columns("rewards.py:short") == {"prompt": ["Q: a"], "bonus": [3]}
    assert columns({"model": "judge"}) == {"prompt": ["Q: a"]}
    with pytest.raises(UserError, match="no column 'answer'"):
        columns("number")


def _rows(told: str) -> dict[str, dict[str, Any]]:
    return {row["recipe"]: row for row in json.loads(told)["rows"]}


@pytest.mark.slow
def test_every_online_method_learns_from_a_function_and_a_classifier(
    bench_process: Bench, tmp_path: Path
) -> None:
    short = "max_completion_length: 4"
    methods = f"""\
  - grpo: {{num_generations: 4, {short}}}
  - rloo: {{{short}}}
  - ppo: {{{short}}}
  - raft: {{num_samples: 2, {short}}}
  - rejection-sampling: {{num_samples: 2, original_rows: false, {short}}}
  - slic-hf: {{rank_by: reward, num_candidates: 4, max_new_tokens: 4}}"""
    _write(tmp_path, "[{rewards.py:short: 0.5}, {model: ./judge, weight: 0.1}]", methods)
    judge_in(tmp_path / "judge")
    result = bench_process("run", "own.yaml", "--json")
    assert result.returncode == 0, result.stderr
    assert {row["status"] for row in _rows(result.stdout).values()} == {"ok"}
    records = [json.loads(f.read_text()) for f in (tmp_path / "results").rglob("records/*.json")]
    trained = {r["method"]: r["train"] for r in records if r["method"] is not None}
    assert len(trained) == 6
    for method, seen in trained.items():
        spent = seen["ledger"]["by_purpose"]["reward"]
        assert spent["tokens"] > 0 and spent["samples"] > 0
        goal = seen["objective"][0]["goal"]
        assert seen["objective"][0]["after"]["values"][goal] != 0, method
    written = (tmp_path / "results/own/suite.yaml").read_text()
    assert "rewards.py:short: 0.5" in written


FAULTY = """
def short(completions, **columns):
    count = len(completions)
    if count == 16:
        raise ValueError("sixteen")
    return [1.0] * (count + 1) if count == 24 else [float("nan")] * count
"""


@pytest.mark.slow
def test_a_broken_function_fails_its_row_with_the_reason(
    bench_process: Bench, tmp_path: Path
) -> None:
    methods = "\n".join(f"  - {{raft: {{num_samples: {n}}}, as: raft-{n}}}" for n in (2, 3, 4))
    _write(tmp_path, "rewards.py:short", methods, FAULTY)
    result = bench_process("run", "own.yaml", "--json")
    assert result.returncode == 1
    records = [json.loads(f.read_text()) for f in (tmp_path / "results").rglob("records/*.json")]
    told = {r["recipe"]: r["reason"] for r in records if r["status"] == "failed"}
    assert told == {
        "raft-2": "reward rewards.py:short raised ValueError: sixteen, at line 5",
        "raft-3": "reward rewards.py:short gave 25 rewards for 24 completions",
        "raft-4": "reward rewards.py:short gave nan for completion 0, not a finite number or None",
    }
