"""A suite that is killed or interrupted keeps what is finished, and goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ..conftest import Bench, command, environment
from ..runs import FIVE, records, table, write_suite

pytestmark = pytest.mark.slow


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
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "the same command continues from there" in errors
    assert "Traceback" not in errors
    assert "leaked" not in errors
    assert "base-s0" in records(tmp_path)
    deadline = time.monotonic() + 120
    while _alive(process.pid):
        assert time.monotonic() < deadline, "a worker outlived the command"
        time.sleep(0.2)
