"""Methods on a device that computes nothing: no tensor lies on the wrong one, and no step waits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from bench.methods import registry
from bench.methods.recipe import Recipe
from bench.methods.run_log import READ_EVERY

from ..conftest import ROOT

METHODS = ("sft", "lora", "prompt-tuning", "ipo")
STEPS = 2 * READ_EVERY + 2
READS, SPEED = 3, 2  # of losses, and of the tokens at warm-up and end
LABELS = "index by a mask"
"""Which tokens are labelled is looked up on the device."""


CANNOT_BE_PRETENDED = (
    "Skipped: ",  # a package, or a shape, that the method needs
    "No module named",
    "not supported for tensor subclasses",  # numpy looks at weights
    "please check your input data",
    "object has no attribute 'components_'",
    "incompatible tensor type",  # a new kind of tensor for a weight that is there
    "DynamicOutputShapeException",  # as many tokens or entries as the numbers say
    "must match",
    "to match target batch_size",
    "should be broadcastable",
    "Error while serializing",  # a file cannot hold what has no numbers
    "contained shared tensors",
    "Found infinity values",
    "optimizer got an empty parameter list",  # a shape without biases
    "implement `getNewGenerator`",  # random numbers of a device that has none
)
"""What is said where a method asks for the numbers themselves."""
LEAST = 95
"""Methods that must come through."""


def found_with(steps: int, names: Sequence[str]) -> tuple[dict[str, Any], str]:
    """What each method waited for, or how it failed; and what the program said."""
    command = [sys.executable, "-m", "tests.pretend_gpu", str(steps), *names]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    found = json.loads(ran.stdout.splitlines()[-1])
    assert "device" in found.pop("mixed up").lower()
    assert found.keys() == set(names)
    return found, ran.stderr


@pytest.mark.slow
def test_no_step_waits_for_the_device() -> None:
    found, said = found_with(STEPS, METHODS)
    for name, waits in found.items():
        assert isinstance(waits, dict), f"{name}: {waits}\n{said}"
        others = {where: n for where, n in waits.items() if not where.startswith(LABELS)}
        assert sum(others.values()) == READS + SPEED, f"{name}: {others}"


@pytest.mark.slow
def test_no_method_mixes_up_devices() -> None:
    names = [
        name
        for name, plugin in registry.plugins().items()
        if plugin.method and not issubclass(plugin.method, Recipe)
    ]
    found, said = found_with(2, names)
    failed = {name: how for name, how in found.items() if isinstance(how, str)}
    known = {n for n, how in failed.items() if any(sign in how for sign in CANNOT_BE_PRETENDED)}
    assert failed.keys() == known, f"{ {n: failed[n] for n in failed.keys() - known} }\n{said}"
    assert len(found) - len(failed) >= LEAST, sorted(failed)
