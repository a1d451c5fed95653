"""The command line as a user calls it, for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main

from .warm import warm_bench

ROOT = Path(__file__).parent.parent
Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """Calls the command's entry point in this process, in a fresh folder: for commands that start
    no runs.
    """

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        command = ["bench", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        capsys.readouterr()
        code: Any = 0
        try:
            main.main()
        except SystemExit as end:
            code = end.code
        out = capsys.readouterr()
        return subprocess.CompletedProcess(command, int(code or 0), out.out, out.err)

    return call


@pytest.fixture
def bench_process(tmp_path: Path) -> Bench:
    """Runs `bench …` as a process of its own in a fresh folder, with a cache of its own."""

    return partial(run_in, tmp_path)


def run_in(folder: Path, *arguments: object, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs `bench …` as a process of its own in a folder, with a cache there. It has imported
    everything already, which is most of what a small run costs.
    """
    return warm_bench().run(command(*arguments), folder, environment(folder, **extra), seconds=400)


def command(*arguments: object) -> list[str]:
    return [str(Path(sys.executable).parent / "bench"), *map(str, arguments)]


def environment(folder: Path, **extra: str) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **extra}


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str, str], str]:
    """Installs a method plugin that is only a file, and gives the PYTHONPATH."""
    return partial(install_plugin, tmp_path / "site")


def install_plugin(site: Path, name: str, source: str) -> str:
    """Writes a module whose `Plugin` is a method, and its entry point; gives the PYTHONPATH."""
    module = f"plugin_{name.replace('-', '_')}"
    install_module(site, module, source, f"[bench.methods]\n{name} = {module}:Plugin\n")
    return str(site)


def install_module(site: Path, module: str, source: str, entry_points: str) -> None:
    """Writes a package that is only a file, and what it offers."""
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
