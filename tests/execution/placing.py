"""What tests of executors share: a small suite, packages that bring executors, and processes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ..conftest import command, environment, install_module

SUITE = """\
suite: small
model: tiny
target: tiny/smallest
budget: {tokens: 1k}
batch: {size: 16, max_length: 64}
seeds: 1
methods:
  - sft: {lr: 1.0e-3}
  - lora: {lr: 5.0e-3}
"""
ON_SLURM = "slurm://?cluster=local"
ONE_SLOT = """\
class OneSlot:
    slots, kind, processor, jobs = 1, "cpu", "", ()

    def __init__(self, place):
        pass

    def room(self):
        return 1 - len(self.jobs)

    def submit(self, jobs):
        self.jobs = jobs

    def hear(self, seconds):
        jobs, self.jobs = self.jobs, ()
        return map(self.done, jobs)

    def close(self):
        print("closed")


"""
"""Of an executor that knows what becomes of a job: `done`."""


def started(suite: Path, on: str | None, *options: str, **extra: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("run", "suite.yaml", *(("--on", on) if on else ()), *options),
        cwd=suite,
        env=environment(suite, **extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes(suite: Path, word: str) -> list[int]:
    """Of those that work in a suite's cache: the ones whose command holds a word."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            own = f"XDG_CACHE_HOME={suite}/cache".encode() in (folder / "environ").read_bytes()
            if own and word.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def until(seen: Callable[[], object]) -> None:
    end = time.monotonic() + 300
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.1)


def only(suite: Path, method: str) -> None:
    kept = [line for line in SUITE.splitlines() if not line.startswith("  - ") or method in line]
    (suite / "suite.yaml").write_text("\n".join(kept) + "\n")


def installed(site: Path, name: str, source: str) -> str:
    """Installs a package with one executor, and gives the PYTHONPATH."""
    entry = f"[bench.executors]\n{name} = {name}:{name.capitalize()}\n"
    install_module(site, name, source, entry)
    return before(site)


def before(site: Path) -> str:
    return f"{site}:{os.environ.get('PYTHONPATH', '')}"


def items(results: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (results / "small/items").iterdir()}


def statuses(results: Path) -> dict[str, str]:
    records = [json.loads(f.read_text()) for f in (results / "small/records").glob("*.json")]
    return {record["recipe"]: record["status"] for record in records}
