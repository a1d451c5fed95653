"""Conversations of one's own from a folder to a report: training rows alone, a reward, an lm-eval
task, four methods.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ..conftest import Bench

SUITE = """\
suite: talks
model: tiny
target: talks
chat: true
budget: {steps: 3}
batch: {size: 4, max_length: 48}
seeds: 1
methods:
  - sft
  - lora
  - grpo: {num_generations: 2, max_completion_length: 4}
  - rejection-sampling
tasks:
  talks:
    prompt-completion: {path: json, data_files: chats.jsonl}
    prompt-only: {path: json, data_files: chats.jsonl}
    reward: rewards.py:right
    evaluate: talks.yaml
"""
REWARDS = """\
def right(prompts, completions, answer, **columns):
    said = [completion[0]["content"] for completion in completions]
    assert all(prompt[-1]["role"] == "user" for prompt in prompts)
    return [float(text.strip() == right) for text, right in zip(said, answer)]
"""
EVALUATION = """\
task: talks
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 12}
filter_list: [{name: strip, filter: [{function: remove_whitespace}, {function: take_first}]}]
metric_list: [{metric: exact_match}]
"""


def _write(folder: Path) -> None:
    sums = [(a, b) for a in range(10, 80, 10) for b in range(11, 18)]
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"add {a} and {b} ?"},
                {"role": "assistant", "content": str(a + b)},
            ]
        }
        for a, b in sums[:40]
    ]
    tests = [{"question": f"add {a} and {b} ?", "answer": str(a + b)} for a, b in sums[40:]]
    for name, rows in (("chats", chats), ("test", tests)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "rewards.py").write_text(REWARDS)
    (folder / "talks.yaml").write_text(EVALUATION)
    (folder / "suite.yaml").write_text(SUITE)


@pytest.mark.slow
def test_conversations_of_ones_own_become_a_table(bench_process: Bench, tmp_path: Path) -> None:
    _write(tmp_path)
    planned = bench_process("plan", "suite.yaml")
    assert planned.returncode == 0, planned.stderr
    told = " ".join(planned.stdout.split())
    assert "talks: no validation split; " in told and " of 40 training rows are held out" in told
    assert "Warning" not in told

    result = bench_process("run", "suite.yaml")
    assert result.returncode == 0, result.stderr + result.stdout
    table = tmp_path / "results/talks/report/table.csv"
    rows = {row["recipe"]: row for row in csv.DictReader(table.read_text().splitlines())}
    assert {"base", "sft", "grpo"} < set(rows) and len(rows) == 5
    assert {row["status"] for row in rows.values()} == {"ok"}, rows
    assert float(rows["base"]["target_accuracy"]) > 0.5, "tiny can add"

    reported = bench_process("report", "results/talks")
    assert reported.returncode == 0, reported.stderr
    again = bench_process("run", "suite.yaml")
    assert again.returncode == 0 and "talks" in again.stdout
