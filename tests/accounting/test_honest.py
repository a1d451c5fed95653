"""Training that nobody pays for ends as a row that says so, and changes no row beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Bench

pytestmark = pytest.mark.slow

HEAD = """
import copy, itertools, time
import torch
from transformers import AutoModelForCausalLM
from bench import Format, Method, token_losses

class Base(Method):
    formats = (Format.PROMPT_COMPLETION,)
    reference = "none"

    def batches(self, session):
        data = session.dataset(Format.PROMPT_COMPLETION)
        for first in itertools.count(step=16):
            rows = data[first % 4096 : first % 4096 + 16]
            yield session.encode(rows["prompt"], rows["completion"])

    def own(self, session):
        place = session.start.spec.location
        return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
"""
WAYS = {
    "own-adamw": """
class Plugin(Base):
    def train(self, session):
        model = self.own(session)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for batch, _ in zip(self.batches(session), range(30)):
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model
""",
    "own-by-hand": """
class Plugin(Base):
    def train(self, session):
        model = self.own(session)
        for batch, _ in zip(self.batches(session), range(30)):
            grads = torch.autograd.grad(model(**batch).loss, list(model.parameters()))
            with torch.no_grad():
                for p, g in zip(model.parameters(), grads):
                    p -= 0.1 * g
        return model
""",
    "hooks-cleared": """
class Plugin(Base):
    def train(self, session):
        model = session.model()
        for module in model.modules():
            module._forward_pre_hooks.clear()
            module._forward_hooks.clear()
        optimizer = session.optimizer(model, 1e-3)
        for batch, _ in zip(self.batches(session), range(30)):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model
""",
    "a-copy": """
class Plugin(Base):
    def train(self, session):
        model = copy.deepcopy(session.model())
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for batch in session.batches(Format.PROMPT_COMPLETION):
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model
""",
    "many-passes": """
class Plugin(Base):
    def train(self, session):
        model = session.model()
        optimizer = session.optimizer(model, 1e-3)
        for batch in session.batches(Format.PROMPT_COMPLETION):
            for _ in range(200):
                model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model
""",
    "without-end": """
class Plugin(Base):
    def train(self, session):
        while True:
            time.sleep(0.1)
""",
}
REASONS = {
    "own-adamw": ("failed", "nobody was charged"),
    "own-by-hand": ("failed", "nobody was charged"),
    "hooks-cleared": ("failed", "nobody was charged"),
    "many-passes": ("over budget", "beyond its budget"),
    "without-end": ("timed out", "time limit"),
}


def test_nobody_trains_for_free(
    bench_process: Bench, plugin: Callable[[str, str], str], tmp_path: Path
) -> None:
    site = ""
    for name, source in WAYS.items():
        site = plugin(name, HEAD + source)
    honest = "  - sft: {lr: 1.0e-3}\n  - lora: {lr: 5.0e-3}\n"
    head = (
        "suite: honest\nmodel: tiny\ntarget: tiny/smallest\nretain: [tiny/last]\n"
        "budget: {tokens: 4k}\nbatch: {size: 16, max_length: 64}\nseeds: 1\ntime_limit: 60\n"
        "methods:\n"
    )
    (tmp_path / "alone.yaml").write_text(head.replace("honest", "alone") + honest)
    dishonest = "".join(f"  - {name}\n" for name in WAYS)
    (tmp_path / "all.yaml").write_text(head + dishonest + honest)
    assert bench_process("run", "alone.yaml").returncode == 0
    result = bench_process("run", "all.yaml", PYTHONPATH=site)
    assert result.returncode == 1, result.stdout + result.stderr

    rows, alone = _rows(tmp_path / "results/honest"), _rows(tmp_path / "results/alone")
    for name, (status, words) in REASONS.items():
        assert rows[name]["status"] == status, rows[name]["reason"]
        assert words in rows[name]["reason"]
        assert rows[name]["target_accuracy"] == "", "a row that failed has no number"
    copied = rows["a-copy"]
    assert copied["status"] == "ok"
    assert 4000 <= float(copied["spent_tokens"]) < 4000 + 16 * 16, "a copy is charged as the model"
    for name in ("base", "sft", "lora"):
        assert rows[name]["target_accuracy"] == alone[name]["target_accuracy"]
        assert rows[name]["forgetting"] == alone[name]["forgetting"]


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    with (folder / "report/table.csv").open() as stream:
        return {row["recipe"]: row for row in csv.DictReader(stream)}


def test_a_plugin_that_exits_silences_nobody(
    bench_process: Bench, plugin: Callable[[str, str], str]
) -> None:
    site = plugin("leaver", "import sys\nsys.exit(0)\n")
    result = bench_process("methods", "--json", PYTHONPATH=site)
    assert result.returncode == 0
    found = {method["name"]: method for method in json.loads(result.stdout)}
    assert "sys.exit" in found["leaver"]["problem"]
    assert found["sft"]["problem"] is None
