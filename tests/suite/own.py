"""A suite on data of one's own, and how to spoil it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SUITE = """\
suite: own
model: tiny
target: reviews
budget: {tokens: 1k}
batch: {size: 4, max_length: 64}
seeds: 1
methods: [sft]
tasks:
  reviews:
    prompt-completion:
      path: json
      data_files: {train: data/train.jsonl, validation: data/dev.jsonl}
      prompt: "{text} It was"
      completion: " {label}"
    evaluate: reviews.yaml
"""


EVALUATION = """\
task: reviews
dataset_path: json
dataset_kwargs: {data_files: {test: data/test.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}} It was"
doc_to_choice: [bad, good]
doc_to_target: label
"""


Rows = list[dict[str, Any]]


def rows(name: str, count: int) -> Rows:
    return [{"text": f"{name} {n}", "label": "good" if n % 2 else "bad"} for n in range(count)]


def jsonl(folder: Path, name: str, content: Rows) -> None:
    (folder / "data").mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in content)
    (folder / f"data/{name}.jsonl").write_text(text)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
