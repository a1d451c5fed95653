"""What a method needs is looked at once, and again when its code has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import Bench
from .placing import SUITE

HUNGRY = """
import torch
from bench_supervised import SFT

class Plugin(SFT):
    def train(self, session):
        held = torch.empty(MIB << 20, dtype=torch.uint8)
        return super().train(session)
"""


@pytest.mark.slow
def test_an_estimate_is_of_the_code_as_it_is(
    bench_process: Bench, tmp_path: Path, plugin: Callable[[str, str], str]
) -> None:
    site = plugin("hungry", HUNGRY.replace("MIB", "64"))
    methods = SUITE.partition("  - sft")[0] + "  - hungry\n"
    (tmp_path / "suite.yaml").write_text(methods)

    def needed() -> int:
        planned = bench_process("plan", "suite.yaml", "--memory", "--json", PYTHONPATH=site)
        assert planned.returncode == 0, planned.stderr
        return json.loads(planned.stdout)["memory"]["hungry"][0]["bytes"]

    before = needed()
    (tmp_path / "site/plugin_hungry.py").write_text(HUNGRY.replace("MIB", "128"))
    assert needed() - before == 64 << 20
    assert len(list((tmp_path / "cache/bench/memory").iterdir())) == 2
    assert needed() - before == 64 << 20
    assert len(list((tmp_path / "cache/bench/memory").iterdir())) == 2
