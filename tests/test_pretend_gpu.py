"""Methods on a device that computes nothing: no tensor lies on the wrong one, and no step waits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.methods.run_log import READ_EVERY

METHODS = ("sft", "lora", "prompt-tuning", "ipo")
STEPS = 2 * READ_EVERY + 2
READS, SPEED = 3, 2  # of losses, and of the tokens at warm-up and end
LABELS = "index by a mask"
"""Which tokens are labelled is looked up on the device."""


@pytest.mark.slow
def test_no_step_waits_for_the_device() -> None:
    program = Path(__file__).parent / "pretend_gpu.py"
    command = [sys.executable, str(program), str(STEPS), *METHODS]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    assert "device" in found.pop("mixed up").lower()
    assert found.keys() == set(METHODS)
    for name, waits in found.items():
        assert isinstance(waits, dict), f"{name}: {waits}\n{ran.stderr}"
        others = {where: n for where, n in waits.items() if not where.startswith(LABELS)}
        assert sum(others.values()) == READS + SPEED, f"{name}: {others}"
