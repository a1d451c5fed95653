"""What lm-eval asks: the same of every run, and of which data set of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.model import LM
from lm_eval.api.task import TaskConfig

from bench.data.lm_eval_yaml import read_lm_eval_yaml
from bench.data.tasks import Task
from bench.evaluation.lm_eval import score
from bench.evaluation.lm_eval_tasks import on_hub
from bench.tiny.tasks import items

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


SHOTS = """\
task: shots
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl}}
test_split: test
fewshot_split: test
num_fewshot: 3
output_type: loglikelihood
doc_to_text: '{{q}}'
doc_to_target: ' {{a}}'
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


class Listener(LM):
    """Notes what it is asked, and knows everything."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        self.asked += [request.args[0] for request in requests]
        return [(0.0, True)] * len(requests)

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        raise NotImplementedError

    def generate_until(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError


def test_every_run_is_shown_the_same_examples(tmp_path: Path) -> None:
    lines = (f'{{"q": "{one.prompt}", "a": "{one.answer}"}}\n' for one in items("add", "test")[:40])
    (tmp_path / "test.jsonl").write_text("".join(lines))
    (tmp_path / "task.yaml").write_text(SHOTS)
    task = Task("shots", {}, read_lm_eval_yaml(tmp_path / "task.yaml")[0], "")
    listeners: list[Any] = [Listener(), Listener()]
    for listener in listeners:
        score(listener, task, "test")
    asked, again = (listener.asked for listener in listeners)
    assert asked == again and len(asked) == 40
    assert len({text.partition("?")[0] for text in asked}) > 10, "examples are drawn anew for each"
