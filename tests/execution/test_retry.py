"""What is trained stays trained: a failed or interrupted evaluation is repeated alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Bench, command, environment

pytestmark = pytest.mark.slow

SCORING = """
import glob, multiprocessing, os, time

def checked(doc):
    if multiprocessing.parent_process() is None:  # looked at before anything is trained
        return doc["text"]
    while os.path.exists("FOLDER/SLOW") and glob.glob("FOLDER/cache/bench/again/sft-*/train.json"):
        time.sleep(0.1)
    if os.path.exists("FOLDER/BROKEN"):
        raise RuntimeError("the scorer has a bad day")
    return doc["text"]
"""
LM_EVAL = """\
task: words
dataset_path: json
dataset_kwargs: {data_files: {test: words.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: !function scoring.checked
doc_to_choice: ["a", "b"]
doc_to_target: label
metric_list: [{metric: acc}]
"""
SUITE = """\
suite: again
model: tiny
target: words
retain: [tiny/last]
drift: tiny/text
budget: {tokens: 3k}
batch: {size: 8, max_length: 32}
seeds: 1
artifacts: ARTIFACTS
methods: [sft, lora]
tasks:
  words:
    prompt-completion: {path: json, data_files: {train: words.jsonl, validation: words.jsonl}, prompt: "{text}", completion: " {choice}"}
    evaluate: words.yaml
"""  # noqa: E501
PLACES = ("seconds", "loss", "ledger", "objective", "memory")


def _write(folder: Path, artifacts: str = "drop") -> Path:
    """A suite of one's own whose evaluation fails while a file BROKEN exists, and waits while SLOW
    does.
    """
    broken = folder / "BROKEN"
    rows = [
        {
            "text": f"sort {'b a' if i % 2 else 'a b'} {i % 7} :",
            "label": i % 2,
            "choice": "ab"[i % 2],
        }
        for i in range(40)
    ]
    (folder / "words.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "scoring.py").write_text(SCORING.replace("FOLDER", str(folder)))
    (folder / "words.yaml").write_text(LM_EVAL)
    (folder / "suite.yaml").write_text(SUITE.replace("ARTIFACTS", artifacts))
    return broken


def _records(folder: Path, results: str = "results") -> dict[str, dict[str, Any]]:
    found = [json.loads(f.read_text()) for f in (folder / results / "again/records").glob("*.json")]
    return {record["recipe"]: record for record in found}


def _artifacts(folder: Path) -> list[Path]:
    return list((folder / "cache/bench/again").rglob("*.safetensors"))


def test_a_failed_evaluation_is_repeated_without_training(
    bench_process: Bench, tmp_path: Path
) -> None:
    broken = _write(tmp_path)
    unbroken = bench_process("run", "suite.yaml", "--results", "never-broken")
    assert unbroken.returncode == 0, unbroken.stdout + unbroken.stderr
    broken.touch()
    assert bench_process("run", "suite.yaml", "--jobs", 2).returncode == 1
    first = _records(tmp_path)
    assert first["sft"]["status"] == "failed"
    assert "the scorer has a bad day" in first["sft"]["reason"]
    assert first["sft"]["train"]["ledger"]["spent"]["tokens"] >= 3000
    assert first["sft"]["evaluation"] is None
    assert _artifacts(tmp_path), "kept until an evaluation succeeds"

    broken.unlink()
    again = bench_process("run", "suite.yaml", "--jobs", 1)
    assert again.returncode == 0, again.stdout + again.stderr
    second, whole = _records(tmp_path), _records(tmp_path, "never-broken")
    for name in ("sft", "lora"):
        assert second[name]["status"] == "ok"
        assert second[name]["concurrent_runs"] == first[name]["concurrent_runs"] == 2
        for place in PLACES:
            assert second[name]["train"][place] == first[name]["train"][place]
        assert second[name]["evaluation"]["scores"] == whole[name]["evaluation"]["scores"]
        assert second[name]["evaluation"]["drift"] == whole[name]["evaluation"]["drift"]
        assert second[name]["train"]["loss"] == whole[name]["train"]["loss"]
    assert not _artifacts(tmp_path)


def test_what_changed_or_is_damaged_is_trained_anew(bench_process: Bench, tmp_path: Path) -> None:
    broken = _write(tmp_path)
    broken.touch()
    assert bench_process("run", "suite.yaml").returncode == 1
    first = _records(tmp_path)
    weights = next(f for f in _artifacts(tmp_path) if f.parent.parent.name == first["sft"]["id"])
    weights.write_bytes(weights.read_bytes()[:1000])
    broken.unlink()
    text = (tmp_path / "suite.yaml").read_text()
    (tmp_path / "suite.yaml").write_text(text.replace("size: 8", "size: 8, micro: 4"))
    assert bench_process("run", "suite.yaml").returncode == 0
    second = _records(tmp_path)
    for name in ("sft", "lora"):
        assert second[name]["id"] == first[name]["id"]
        assert second[name]["status"] == "ok"
        assert second[name]["train"]["seconds"] != first[name]["train"]["seconds"]


def test_a_deleted_record_is_measured_anew_though_its_artifact_is_kept(
    bench_process: Bench, tmp_path: Path
) -> None:
    _write(tmp_path, "keep")
    assert bench_process("run", "suite.yaml").returncode == 0
    first = _records(tmp_path)["sft"]
    (tmp_path / "results/again/records" / f"{first['id']}.json").unlink()
    assert bench_process("run", "suite.yaml").returncode == 0
    assert _records(tmp_path)["sft"]["train"]["seconds"] != first["train"]["seconds"]


def test_ctrl_c_during_an_evaluation_keeps_the_training(
    bench_process: Bench, tmp_path: Path
) -> None:
    _write(tmp_path)
    slow = tmp_path / "SLOW"
    slow.touch()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command("run", "suite.yaml", "--jobs", 1),
        cwd=tmp_path,
        env=environment(tmp_path),
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    deadline, folder = time.monotonic() + 300, tmp_path / "cache/bench/again"
    while not (found := list(folder.glob("sft-*/train.json"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=300)
    kept = json.loads(found[0].read_text())
    assert "sft" not in _records(tmp_path)
    slow.unlink()
    assert bench_process("run", "suite.yaml").returncode == 0
    assert _records(tmp_path)["sft"]["train"]["seconds"] == kept["seconds"]
