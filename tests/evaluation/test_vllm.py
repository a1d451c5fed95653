"""`engine: vllm`: another program generates, and the table is the same."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ..conftest import Bench, run_in

SUITE = """
suite: served
model: tiny
target: tiny/smallest
retain: [tiny/people]
drift: tiny/text
budget: {tokens: 6k}
batch: {size: 16, max_length: 64}
seeds: 1
engine: ENGINE
methods:
  - sft: {lr: 1.0e-3}
  - lora: {lr: 1.0e-2}
  - {chain: [{lora: {lr: 1.0e-2}}, {sft: {lr: 1.0e-3}}], as: lora+sft}
  - {chain: [{sft: {lr: 1.0e-3}}, prompt-tuning], as: sft+prompt}
"""
STAND_IN = f"""#!/bin/sh
exec {sys.executable} {Path(__file__).with_name("vllm_by_transformers.py")} "$@"
"""


def _on_path(folder: Path, text: str) -> str:
    """A PATH on which `vllm` is this program."""
    folder.mkdir()
    (folder / "vllm").write_text(text)
    (folder / "vllm").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(params=["vllm", "a stand-in"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "a stand-in":
        return _on_path(tmp_path / "bin", STAND_IN)
    if not shutil.which("vllm"):
        pytest.skip("vllm is not installed: it wants an environment of its own")
    return os.environ["PATH"]


def _run(folder: Path, engine: str, path: str) -> dict[str, dict[str, Any]]:
    (folder / f"{engine}.yaml").write_text(SUITE.replace("ENGINE", engine))
    done = run_in(folder, "run", f"{engine}.yaml", "--results", engine, "--quiet", PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    files = (folder / engine / "served/records").glob("*.json")
    return {r["recipe"]: r for r in map(json.loads, (file.read_text() for file in files))}


def _items(folder: Path, engine: str, run: str) -> pd.DataFrame:
    frame = pd.read_parquet(folder / engine / "served/items" / f"{run}.parquet")
    return frame.sort_values(["task", "doc_id"], ignore_index=True)


@pytest.mark.slow
def test_vllm_gives_the_answers_that_transformers_gives(tmp_path: Path, path: str) -> None:
    plain, served = (_run(tmp_path, engine, path) for engine in ("transformers", "vllm"))
    for row in ("base", "sft", "lora", "lora+sft"):
        one, other = (_items(tmp_path, *at) for at in (
            ("transformers", plain[row]["id"]), ("vllm", served[row]["id"])
        ))  # fmt: skip
        assert one.equals(other), row
        assert served[row]["evaluation"]["decode"]["engine"].startswith("vllm 0.")
        assert "engine" not in plain[row]["evaluation"]["decode"]
        counts = [r["evaluation"]["decode"] for r in (plain[row], served[row])]
        assert counts[0]["tokens"] == counts[1]["tokens"]
        assert counts[0]["answers"] == counts[1]["answers"] == len(one)
        assert served[row]["evaluation"]["drift"] == plain[row]["evaluation"]["drift"]
    assert plain["sft+prompt"]["status"] == "ok"
    assert served["sft+prompt"]["status"] == "skipped"
    assert "in front of each row" in served["sft+prompt"]["reason"]
    keys = {r["comparison_key"] for found in (plain, served) for r in found.values()}
    assert len(keys) == 2, "rows of different engines share no table"


OWN_FORM = """
from bench_supervised import SFT

class Plugin(SFT):
    def save(self, model, folder):
        raise NotImplementedError

    def load(self, base, folder):
        raise NotImplementedError
"""


@pytest.mark.slow
def test_what_vllm_cannot_load_is_not_trained(
    bench_process: Bench, tmp_path: Path, plugin: Callable[[str, str], str]
) -> None:
    given = {"PATH": _on_path(tmp_path / "bin", STAND_IN), "PYTHONPATH": plugin("own", OWN_FORM)}
    whole, _, _ = SUITE.replace("ENGINE", "vllm").partition("  - sft")
    (tmp_path / "suite.yaml").write_text(f"{whole}  - own\n  - {{chain: [own, sft], as: then}}\n")
    planned = bench_process("plan", "suite.yaml", "--json", **given)
    assert planned.returncode == 0, planned.stderr
    reasons = json.loads(planned.stdout)["obstacles"]
    assert reasons.keys() == {"own", "then"}
    done = bench_process("run", "suite.yaml", "--quiet", **given)
    assert done.returncode == 0, done.stdout + done.stderr
    for row, reason in reasons.items():
        (file,) = (tmp_path / "results/served/records").glob(f"{row}-s0-*.json")
        record = json.loads(file.read_text())
        assert (record["status"], record["train"]) == ("skipped", None)
        assert record["reason"] == reason and "adds modules of its own" in reason


@pytest.mark.slow
def test_a_server_that_does_not_start_is_a_failed_row_that_says_why(tmp_path: Path) -> None:
    path = _on_path(tmp_path / "bin", "#!/bin/sh\necho no memory for this model\nexit 3\n")
    (tmp_path / "suite.yaml").write_text(SUITE.replace("ENGINE", "vllm"))
    done = run_in(tmp_path, "run", "suite.yaml", "--only", "sft", "--quiet", PATH=path)
    assert done.returncode == 1
    (record,) = (tmp_path / "results/served/records").glob("sft-s0-*.json")
    reason = json.loads(record.read_text())["reason"]
    assert "vLLM did not start" in reason and "no memory for this model" in reason


def test_a_missing_command_is_told_before_anything_runs(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "suite.yaml").write_text(SUITE.replace("ENGINE", "vllm"))
    done = bench("plan", "suite.yaml")
    assert done.returncode == 2
    assert "needs the command vllm" in done.stderr and "line 10" in done.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("model: tiny", "model: {path: tiny, quantize: nf4}"), "works without quantize"),
        (("seeds: 1", "seeds: 1\ngpus: 2"), "works with one GPU"),
        (("ENGINE", "sglang"), "engine"),
    ],
)
def test_what_does_not_go_with_vllm_is_told(
    bench: Bench, tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    text = SUITE.replace(*change).replace("ENGINE", "vllm")
    (tmp_path / "suite.yaml").write_text(text)
    done = bench("plan", "suite.yaml")
    assert done.returncode == 2 and told in done.stderr, done.stderr
