"""Whose items a score is of: known for data sets of the Hub, and for no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from lm_eval.api.task import TaskConfig

from bench.data.lm_eval_yaml import read_lm_eval_yaml
from bench.evaluation.lm_eval_tasks import on_hub

from ..conftest import ROOT

SUITES = ROOT / "suites"


@pytest.mark.parametrize(
    ("file", "path", "name", "split"),
    [
        ("gpu/tasks/gsm8k.yaml", "openai/gsm8k", "main", "test"),
        ("smollm2/tasks/sst2-hub.yaml", "nyu-mll/glue", "sst2", "validation"),
    ],
)
def test_the_data_set_that_is_asked_is_named_and_not_the_one_learned_from(
    file: str, path: str, name: str, split: str
) -> None:
    config, _ = read_lm_eval_yaml(SUITES / file)
    assert on_hub(TaskConfig(**config)) == {"path": path, "name": name, "split": split}


def test_files_of_ones_own_are_no_data_set_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    file = tmp_path / "task.yaml"
    own = "task: own\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\n"
    file.write_text(own + "test_split: test\n")
    assert on_hub(TaskConfig(**read_lm_eval_yaml(file)[0])) is None
