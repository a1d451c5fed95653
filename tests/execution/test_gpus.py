"""One run on several devices: two processes on the CPU, which find each other through gloo, train
and score what one process does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from .. import guide
from ..conftest import Bench, command, environment, install_plugin, run_in

METHODS = """\
  - sft: {lr: 1.0e-3}
  - dora: {lr: 5.0e-3}
  - prompt-tuning
  - chain: [{lora: {lr: 5.0e-3}}, {dpo: {lr: 1.0e-4}}]
  - by-trainer: {lr: 1.0e-4}
  - chain: [{sft: {lr: 1.0e-3}}, {grpo: {reward: check, lr: 1.0e-4}}]
"""
SUITE = """\
suite: {name}
model: tiny
target: tiny/smallest
drift: tiny/text
budget: {{tokens: 3k}}
batch: {{size: 16, max_length: 64, micro: 4}}
gpus: {gpus}
seeds: 1
artifacts: keep
methods:
{methods}"""
ROUNDING = 2e-3
"""Of a tensor's size: in its first steps AdamW makes a rounding error as large as a step."""
WAITS = """\
import os
import time

from bench import Format, Method, token_losses


class Plugin(Method):
    formats = (Format.PROMPT_COMPLETION,)
    reference = "none"

    def train(self, session):
        model = session.model()
        optimizer = session.optimizer(model, 1e-3)
        for batch in session.batches(self.formats[0]):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
            print("pid", os.getpid(), flush=True)
            time.sleep(0.5)
        return model
"""
ALONE = """\
from bench import Format, Method


class Plugin(Method):
    formats = (Format.PROMPT_COMPLETION,)
    reference = "none"
    one_gpu = "turns the model inside out"

    def train(self, session):
        raise AssertionError("never called")
"""


TALKS = """\
import time

from bench import Format, Method, token_losses


class Plugin(Method):
    formats = (Format.PROMPT_COMPLETION,)
    reference = "none"

    def train(self, session):
        clock = time.monotonic
        time.monotonic = lambda: 1000 * clock()  # so that each step is told
        model = session.model()
        optimizer = session.optimizer(model, 1e-3)
        for batch in session.batches(self.formats[0]):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model
"""


def _write(folder: Path, gpus: int, methods: str) -> str:
    name = f"on-{gpus}"
    text = SUITE.format(name=name, gpus=gpus, methods=methods)
    (folder / f"{name}.yaml").write_text(text)
    return f"{name}.yaml"


def _records(folder: Path, suite: str) -> dict[str, dict[str, Any]]:
    """By recipe."""
    files = (folder / "results" / suite / "records").glob("*.json")
    records = [json.loads(file.read_text()) for file in files]
    return {record["recipe"]: record for record in records}


def _artifact(folder: Path, record: dict[str, Any]) -> dict[str, torch.Tensor]:
    place = folder / "cache/bench" / record["suite"] / record["id"] / "artifact"
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(place.glob("*.safetensors")):
        tensors |= load_file(file)
    return tensors


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """The records of one suite on one device, and of the same on two."""
    folder = tmp_path_factory.mktemp("both")
    path = install_plugin(folder / "site", "by-trainer", guide.plugin(guide.BY_TRAINER))
    for gpus in (1, 2):
        suite = _write(folder, gpus, METHODS)
        done = run_in(folder, "run", suite, "--jobs", "1", PYTHONPATH=path)
        assert done.returncode == 0, done.stdout + done.stderr
    yield folder, [_records(folder, "on-1"), _records(folder, "on-2")]


@pytest.mark.slow
def test_two_devices_spend_and_learn_what_one_does(
    both: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, (one, two) = both
    assert one.keys() == two.keys()
    for recipe, alone in one.items():
        together = two[recipe]
        assert (alone["status"], together["status"]) == ("ok", "ok"), recipe
        assert together["evaluation"]["environment"]["ranks"] == 2
        assert alone["comparison_key"] != together["comparison_key"]
        if alone["train"] is None:
            assert together["evaluation"]["scores"] == alone["evaluation"]["scores"]
            continue
        assert together["train"]["environment"]["ranks"] == 2
        assert together["train"]["ledger"]["by_purpose"] == alone["train"]["ledger"]["by_purpose"]
        steps = [record["train"]["ledger"]["spent"]["steps"] for record in (alone, together)]
        assert steps[0] == steps[1] > 0
        assert together["train"]["loss"] == pytest.approx(alone["train"]["loss"], rel=1e-3)
        ours, theirs = (_artifact(folder, record) for record in (alone, together))
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert tensor.shape == theirs[name].shape
            difference = float((theirs[name] - tensor).norm() / tensor.norm())
            assert difference < ROUNDING, (recipe, name, difference)


@pytest.mark.slow
def test_each_device_holds_a_part(both: tuple[Path, list[dict[str, Any]]]) -> None:
    _, (one, two) = both
    for part in ("weights_bytes", "gradients_bytes", "optimizer_bytes"):
        alone, together = (records["sft"]["train"]["memory"][part] for records in (one, two))
        assert 0.5 * alone <= together < 0.6 * alone  # embeddings and head are whole on each


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run(tmp_path: Path, plugin: Callable[[str, str], str]) -> None:
    path = plugin("waits", WAITS)
    suite = _write(tmp_path, 2, "  - waits\n")
    process = subprocess.Popen(
        command("run", suite, "--jobs", "1"),
        cwd=tmp_path,
        env=environment(
            tmp_path, PYTHONPATH=os.pathsep.join([path, os.environ.get("PYTHONPATH", "")])
        ),
        stdout=subprocess.DEVNULL,
    )
    pids = _pids(tmp_path)
    os.kill(pids[1], signal.SIGKILL)
    assert process.wait(timeout=120) == 1
    record = _records(tmp_path, "on-2")["waits"]
    assert record["status"] == "crashed"
    assert "SIGKILL" in record["reason"]
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def _pids(folder: Path) -> list[int]:
    """Of both ranks of the one run, once they train."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        logs = [
            next(folder.glob(f"cache/bench/on-2/waits*/{n}"), None)
            for n in ("log.txt", "log-1.txt")
        ]
        said = [log.read_text().split() if log else [] for log in logs]
        if all("pid" in words for words in said):
            return [int(words[words.index("pid") + 1]) for words in said]
        time.sleep(0.2)
    raise AssertionError("nothing trained")


@pytest.mark.slow
def test_ranks_that_nobody_hears_go_on(
    tmp_path: Path, bench_process: Bench, plugin: Callable[[str, str], str]
) -> None:
    suite = tmp_path / _write(tmp_path, 2, "  - talks\n")
    text = suite.read_text().replace("{tokens: 3k}", "{steps: 320}").replace("size: 16", "size: 2")
    suite.write_text(text.replace("micro: 4", "micro: 1") + "time_limit: 300\n")
    done = bench_process("run", suite.name, "--jobs", "1", PYTHONPATH=plugin("talks", TALKS))
    assert done.returncode == 0, done.stdout
    assert _records(tmp_path, "on-2")["talks"]["train"]["ledger"]["spent"]["steps"] == 320


@pytest.mark.slow
def test_a_method_that_cannot_is_a_skipped_row(
    tmp_path: Path, bench_process: Bench, plugin: Callable[[str, str], str]
) -> None:
    path = plugin("alone", ALONE)
    suite = _write(tmp_path, 2, "  - alone\n")
    planned = bench_process("plan", suite, PYTHONPATH=path)
    assert "several GPUs: turns the model inside out" in " ".join(planned.stdout.split())
    bench_process("run", suite, "--jobs", "1", PYTHONPATH=path)
    record = _records(tmp_path, "on-2")["alone"]
    assert record["status"] == "skipped"
    assert "several GPUs: turns the model inside out" in record["reason"]


@pytest.mark.parametrize(
    ("batch", "gpus", "said"),
    [
        ("{size: 15}", 2, "size 15 is no multiple of gpus 2"),
        ("{size: 16, micro: auto}", 2, "micro: auto works with one GPU"),
        ("{size: 16, micro: 16}", 2, "8 is no multiple of 16"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_told(
    tmp_path: Path, bench: Bench, batch: str, gpus: int, said: str
) -> None:
    suite = tmp_path / _write(tmp_path, gpus, "  - sft\n")
    whole = "{size: 16, max_length: 64, micro: 4}"
    suite.write_text(suite.read_text().replace(whole, batch))
    result = bench("plan", suite.name)
    assert result.returncode == 2
    assert said in result.stderr
