"""Trouble in one run is a row with its reason and hurts no other; TRL trainers end as loops do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import Bench
from ..runs import records, write_suite
from .placing import processes

pytestmark = pytest.mark.slow


TROUBLE = """
import os
import subprocess
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
            subprocess.Popen(["sleep", "1000"])  # which lives on
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
    assert not processes(tmp_path, "sleep"), "what a stage started ends with it"
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
