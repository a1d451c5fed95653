"""Whole runs through the command line: what is measured, what stands on disk, and what happens when
things go wrong.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Bench, command, environment

pytestmark = pytest.mark.slow

SMALL = """\
suite: small
model: tiny
target: tiny/smallest
retain: [tiny/last]
drift: tiny/text
budget: {BUDGET}
batch: {size: 16, max_length: 64}
seeds: SEEDS
methods:
METHODS
"""
FIVE = (
    "  - sft: {lr: 1.0e-3}\n  - instruction: {lr: 1.0e-3}\n  - lora: {lr: 5.0e-3}\n  -"
    " prompt-tuning\n  - prefix-tuning"
)


def write_suite(
    folder: Path, methods: str, budget: str = "tokens: 4k", seeds: str = "1", extra: str = ""
) -> None:
    text = SMALL.replace("BUDGET", budget).replace("SEEDS", seeds).replace("METHODS", methods)
    (folder / "suite.yaml").write_text(text + extra)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found = [
        json.loads(file.read_text()) for file in (folder / "results/small/records").glob("*.json")
    ]
    return {f"{r['recipe']}-s{r['seed']}": r for r in found}


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "results/small/report/table.csv").open() as stream:
        return {row["recipe"]: row for row in csv.DictReader(stream)}


def test_five_methods_and_the_base_in_one_table(bench_process: Bench, tmp_path: Path) -> None:
    write_suite(tmp_path, FIVE)
    result = bench_process("run", "suite.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    rows = table(tmp_path)
    assert set(rows) == {"base", "sft", "instruction", "lora", "prompt-tuning", "prefix-tuning"}
    assert all(row["status"] == "ok" for row in rows.values())
    batch = 16 * 16  # rows of at most sixteen tokens
    for name, row in rows.items():
        if name != "base":
            assert 4000 <= float(row["spent_tokens"]) < 4000 + batch
            assert float(row["train_seconds"]) > 0
            assert float(row["train_tokens_per_second"]) > 0
            assert float(row["peak_train_bytes"]) > 50e6
            assert float(row["drift_kl"]) > 0
            assert int(float(row["items_lost"])) >= 0
    assert float(rows["base"]["drift_kl"]) == pytest.approx(0, abs=1e-9)
    assert int(float(rows["sft"]["trainable_parameters"])) == int(
        float(rows["base"]["total_parameters"])
    )
    assert int(float(rows["prompt-tuning"]["trainable_parameters"])) == 20 * 128
    assert int(float(rows["prefix-tuning"]["trainable_parameters"])) == 20 * 128 * 4 * 2
    # Same data order for all: with one seed, equal budgets in tokens end after equal steps.
    assert (
        len(
            {
                rows[name]["spent_steps"]
                for name in ("sft", "lora", "prompt-tuning", "prefix-tuning")
            }
        )
        == 1
    )
    markdown = (tmp_path / "results/small/report/table.md").read_text()
    assert "not trained" in markdown
    assert "|  |" not in markdown, "never a blank cell"
    assert (tmp_path / "results/small/report/learning-forgetting.svg").stat().st_size > 1000
    record = records(tmp_path)["sft-s0"]
    assert record["evaluation"]["generation_config"]["do_sample"] is False
    assert set(record["train"]["seconds"]) == {"load", "measure", "train", "save", "other"}
    assert set(record["fingerprints"]["tasks"]) == {"tiny/smallest", "tiny/last"}
    assert not list((tmp_path / "cache/bench/small").rglob("*.safetensors")), (
        "artifacts are dropped unless the suite keeps them"
    )

    again = bench_process("run", "suite.yaml", "--json")
    assert again.returncode == 0
    assert {row["recipe"] for row in json.loads(again.stdout)["rows"]} == set(rows)
    assert records(tmp_path)["sft-s0"] == record, "nothing was repeated"


@pytest.mark.parametrize(
    ("budget", "currency", "amount", "batch"),
    [
        ("samples: 100", "samples", 100, 16),
        ("steps: 7", "steps", 7, 1),
        ("flops: 2e10", "flops", 2e10, 16 * 16 * 6 * 0.9e6),
        ("seconds: 2", "seconds", 2, 1.5),
    ],
)
def test_every_run_stops_within_one_batch_of_its_budget(
    budget: str, currency: str, amount: float, batch: float, bench_process: Bench, tmp_path: Path
) -> None:
    write_suite(tmp_path, "  - sft\n  - prompt-tuning", budget)
    result = bench_process("run", "suite.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("sft-s0", "prompt-tuning-s0"):
        spent = records(tmp_path)[name]["train"]["ledger"]["spent"][currency]
        assert amount <= spent <= amount + batch


def test_seeds_repeat_and_differ(bench_process: Bench, tmp_path: Path) -> None:
    write_suite(
        tmp_path, "  - lora: {lr: 1.0e-2}\n  - {lora: {lr: 1.0e-2}, as: twin}", seeds="[0, 3]"
    )
    assert bench_process("run", "suite.yaml").returncode == 0
    found = records(tmp_path)
    losses = {name: r["train"]["loss"]["last"] for name, r in found.items() if r["train"]}
    assert len(set(losses.values())) == 4, "a recipe's own seed is its own"
    assert found["lora-s0"]["train"]["loss"]["first"] == pytest.approx(
        found["twin-s0"]["train"]["loss"]["first"], rel=0.2
    )
    row = table(tmp_path)["lora"]
    assert row["seeds"] == "2"
    assert float(row["train_seconds_std"]) >= 0
    (tmp_path / "results/small/records").joinpath(f"{found['lora-s0']['id']}.json").unlink()
    assert bench_process("run", "suite.yaml").returncode == 0
    again = records(tmp_path)["lora-s0"]
    assert again["train"]["loss"] == found["lora-s0"]["train"]["loss"], (
        "the same seed gives the same run"
    )
    assert again["evaluation"]["scores"] == found["lora-s0"]["evaluation"]["scores"]


TROUBLE = """
import os
import torch
from typing import ClassVar
from bench import Format, Method, token_losses

class Plugin(Method):
    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    reference: ClassVar = "none <script>alert(1)</script> | none"
    how: str = "raise"

    def skip(self, session):
        return "it is too tired" if self.how == "skip" else None

    def train(self, session):
        model = session.model()
        optimizer = session.optimizer(model, 1e-3)
        if self.how == "raise":
            raise ValueError("no such luck")
        if self.how == "exit":
            os._exit(7)
        if self.how == "kill":
            os.kill(os.getpid(), 9)
        if self.how == "memory":
            torch.empty(1 << 60)
        if self.how == "ignore":
            batch = next(session.batches(Format.PROMPT_COMPLETION))
            while True:
                session.learn(optimizer, batch, lambda part: token_losses(model, part))
        factor = float("nan") if self.how == "nan" else 1.0
        for batch in session.batches(Format.PROMPT_COMPLETION):
            session.learn(optimizer, batch, lambda part: factor * token_losses(model, part))
        return model
"""
VERDICTS = {
    "raise": ("failed", "ValueError: no such luck"),
    "exit": ("crashed", "exit code 7"),
    "kill": ("crashed", "SIGKILL"),
    "memory": ("out of memory", ""),
    "ignore": ("over budget", "budget of 4000 tokens"),
    "nan": ("diverged", "the loss became nan at step 1"),
    "skip": ("skipped", "it is too tired"),
}


def test_trouble_is_a_row_and_hurts_nobody(
    bench_process: Bench, tmp_path: Path, plugin: Callable[[str, str], str]
) -> None:
    site = plugin("trouble", TROUBLE)
    entries = "\n".join(f"  - {{trouble: {{how: {how}}}, as: '{how}|<b>'}}" for how in VERDICTS)
    write_suite(tmp_path, entries + "\n  - sft")
    result = bench_process("run", "suite.yaml", PYTHONPATH=site)
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    found = records(tmp_path)
    for how, (status, reason) in VERDICTS.items():
        record = found[f"{how}|<b>-s0"]
        assert record["status"] == status, record
        assert reason in record["reason"]
    assert found["sft-s0"]["status"] == "ok"
    markdown = (tmp_path / "results/small/report/table.md").read_text()
    assert "<b>" not in markdown
    over = found["ignore|<b>-s0"]
    assert over["log"] is not None
    assert str(tmp_path) not in json.dumps(over)


def test_a_broken_plugin_is_told_and_hurts_nobody(
    bench_process: Bench, tmp_path: Path, plugin: Callable[[str, str], str]
) -> None:
    site = plugin("broken", "import there_is_no_such_module\n")
    listed = bench_process("methods", "broken", PYTHONPATH=site)
    assert listed.returncode == 0
    assert "plugin_broken 1.0" in listed.stdout
    assert "there_is_no_such_module" in listed.stdout
    write_suite(tmp_path, "  - broken\n  - sft")
    assert bench_process("run", "suite.yaml", PYTHONPATH=site).returncode == 0
    assert records(tmp_path)["broken-s0"]["status"] == "skipped"
    assert "there_is_no_such_module" in records(tmp_path)["broken-s0"]["reason"]
    assert records(tmp_path)["sft-s0"]["status"] == "ok"


TRAINER = """
from typing import ClassVar
from bench import Format, Method

class Plugin(Method):
    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    reference: ClassVar = "TRL"
    lr: float = 1e-3

    def train(self, session):
        from trl import SFTConfig, SFTTrainer
        trainer = SFTTrainer(
            session.model(),
            train_dataset=session.dataset(Format.PROMPT_COMPLETION),
            **session.trainer_kwargs(SFTConfig, learning_rate=self.lr, max_length=64),
        )
        trainer.train()
        return trainer.model
"""


def test_a_method_on_a_trl_trainer_is_treated_as_the_loop_is(
    bench_process: Bench, tmp_path: Path, plugin: Callable[[str, str], str]
) -> None:
    site = plugin("trl-sft", TRAINER)
    write_suite(tmp_path, "  - sft: {lr: 1.0e-3}\n  - trl-sft", "tokens: 20k")
    result = bench_process("run", "suite.yaml", PYTHONPATH=site)
    assert result.returncode == 0, result.stdout + result.stderr
    loop, trainer = records(tmp_path)["sft-s0"]["train"], records(tmp_path)["trl-sft-s0"]["train"]
    for currency in ("tokens", "samples", "steps"):
        assert trainer["ledger"]["spent"][currency] == pytest.approx(
            loop["ledger"]["spent"][currency], rel=1e-3
        )
    # the trainer computes the logits of every token, the loop those of labelled ones
    flops = trainer["ledger"]["spent"]["flops"] / loop["ledger"]["spent"]["flops"]
    assert 1 < flops < 1.05
    assert trainer["loss"]["last"] == pytest.approx(loop["loss"]["last"], rel=0.05)


def test_a_killed_suite_goes_on_where_it_was(tmp_path: Path, bench_process: Bench) -> None:
    write_suite(tmp_path, FIVE, "tokens: 10k")
    process = subprocess.Popen(
        command("run", "suite.yaml", "--jobs", 1),
        cwd=tmp_path,
        env=environment(tmp_path),
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    folder = tmp_path / "results/small/records"
    while len(list(folder.glob("*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {file: file.stat().st_mtime_ns for file in folder.glob("*.json")}
    assert 2 <= len(kept) < 6
    result = bench_process("run", "suite.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(table(tmp_path)) == 6
    assert all(file.stat().st_mtime_ns == when for file, when in kept.items()), (
        "finished runs are not repeated"
    )


def _alive(session: int) -> bool:
    """Whether any process of a session lives: workers lead process groups of their own."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = file.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        if int(own) == session and state != "Z":
            return True
    return False


def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process(tmp_path: Path) -> None:
    write_suite(tmp_path, FIVE, "tokens: 1M")
    # Tests that run in the background may have been told to ignore SIGINT, and would pass that on;
    # a person's shell does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command("run", "suite.yaml"),
        cwd=tmp_path,
        env=environment(tmp_path),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while (
        not list((tmp_path / "results/small/records").glob("base*.json"))
        and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues from there" in errors
    assert "Traceback" not in errors
    assert "leaked" not in errors
    assert "base-s0" in records(tmp_path)
    deadline = time.monotonic() + 20
    while _alive(process.pid):
        assert time.monotonic() < deadline, "a worker outlived the command"
        time.sleep(0.2)


def test_a_sequence_of_targets_is_learned_one_after_the_other(
    bench_process: Bench, tmp_path: Path
) -> None:
    write_suite(
        tmp_path, "  - sft: {lr: 1.0e-3}\n  - lora: {lr: 5.0e-3}\n  - prompt-tuning", "tokens: 12k"
    )
    text = (tmp_path / "suite.yaml").read_text()
    (tmp_path / "suite.yaml").write_text(
        text.replace("target: tiny/smallest", "target: [tiny/smallest, tiny/swap]")
    )
    result = bench_process("run", "suite.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    found = records(tmp_path)
    for name in ("sft-s0", "lora-s0"):
        assert found[name]["status"] == "ok"
        assert {"tiny/smallest", "tiny/swap"} <= set(found[name]["evaluation"]["scores"])
        assert 12_000 <= found[name]["train"]["ledger"]["spent"]["tokens"] < 12_000 + 2 * 300
    assert found["prompt-tuning-s0"]["status"] == "skipped"
    assert "cannot be merged" in found["prompt-tuning-s0"]["reason"]
