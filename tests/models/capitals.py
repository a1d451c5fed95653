"""A suite that asks for capitals, on any model."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

needs_gguf = pytest.mark.skipif(find_spec("gguf") is None, reason="gguf is not installed")


CPU = torch.device("cpu")


SUITE = """\
suite: capitals
model: {model}
target: capitals
budget: {{tokens: 300}}
batch: {{size: 4, max_length: 32}}
seeds: 1
artifacts: keep
methods: [sft, lora]
tasks:
  capitals:
    prompt-completion: {{path: json, data_files: {{train: train.jsonl, validation: train.jsonl}}}}
    evaluate: capitals.yaml
"""


EVALUATION = """\
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: train.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: "{{[completion[1:], 'Berlin']}}"
doc_to_target: 0
"""


CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo"}


def suite(folder: Path, model: str) -> None:
    rows = [
        json.dumps({"prompt": f"The capital of {land} is", "completion": f" {city}"})
        for land, city in CAPITALS.items()
    ]
    (folder / "train.jsonl").write_text("\n".join(rows * 2))
    (folder / "capitals.yaml").write_text(EVALUATION)
    (folder / "suite.yaml").write_text(SUITE.format(model=model))
