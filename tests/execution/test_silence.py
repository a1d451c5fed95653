"""SLURM jobs end with their driver, and a driver that was only slow loses nothing by it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bench.execution.executors import slurm
from bench.execution.executors.protocol import Placement

from ..runs import write_suite
from .placing import ON_SLURM, processes, started, statuses, until

PATIENT = """\
import time
from pathlib import Path
from typing import ClassVar
from bench import Format, Method, token_losses

class Plugin(Method):
    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    reference: ClassVar = "none"

    def train(self, session):
        while Path("HELD").exists():
            time.sleep(0.1)
        model = session.model()
        optimizer = session.optimizer(model, 1e-3)
        for batch in session.batches(Format.PROMPT_COMPLETION):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model
"""
IMPATIENT = """\
import sys

if "submitit.core._submit" in sys.orig_argv:
    from bench.execution.executors import slurm

    slurm.SILENCE = 5.0
"""


def test_a_driver_at_work_gives_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="needs submitit")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(slurm, "TOUCH_EVERY", 0.05)
    with closing(slurm.Slurm(Placement("slurm", options=(("cluster", "local"),)))):
        (sign,) = tmp_path.glob(f"bench/slurm/*/{slurm.ALIVE}")
        os.utime(sign, (0, 0))
        until(lambda: sign.stat().st_mtime)
    time.sleep(0.2)
    assert not sign.exists()


@pytest.mark.slow
def test_jobs_of_a_driver_that_was_held_up_are_placed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: Callable[[str, str], str]
) -> None:
    pytest.importorskip("submitit", reason="needs submitit")
    site, held = plugin("patient", PATIENT), tmp_path / "HELD"
    Path(site, "sitecustomize.py").write_text(IMPATIENT)
    monkeypatch.setenv("PYTHONPATH", site)
    write_suite(tmp_path, "  - patient", "tokens: 1k")
    held.touch()
    with started(tmp_path, ON_SLURM, "--jobs", "2") as driver:
        until(lambda: list(tmp_path.glob("cache/bench/small/patient-*/log.txt")))
        driver.send_signal(signal.SIGSTOP)  # as Ctrl-Z does
        until(lambda: not processes(tmp_path, "submitit.core._submit"))
        held.unlink()
        driver.send_signal(signal.SIGCONT)
        out, err = driver.communicate(timeout=600)
    assert driver.returncode == 0, out + err
    assert "it is placed again" in out
    assert statuses(tmp_path / "results") == {"base": "ok", "patient": "ok"}
