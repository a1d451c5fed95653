"""A fresh virtual environment, far from this repository, for tests of what a user installs."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from .conftest import ROOT, environment

SOURCES = (ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")))


class FreshEnvironment:
    """An environment into which wheels are installed, and a working folder for its programs.

    It borrows the third-party packages of this environment, because torch is too large to install
    for a test. They are linked one by one into a folder, which a `.pth` file names. Neither
    the code nor the metadata of bench and its plugins is among them, so pip resolves real
    requirements, and what runs is what was installed.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self.work = folder, work
        venv.create(folder)
        borrowed = folder / "borrowed"
        borrowed.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if entry.suffix != ".pth" and not entry.name.startswith(("bench", "finetuning_bench")):
                (borrowed / entry.name).symlink_to(entry)
        (self.site / "borrowed.pth").write_text(f"{borrowed}\n")

    @property
    def site(self) -> Path:
        """Where its own packages lie."""
        base = {"base": str(self.folder), "platbase": str(self.folder)}
        return Path(sysconfig.get_path("purelib", vars=base))

    def call(self, program: str, *arguments: object, code: int = 0) -> str:
        """The output of a program of the environment, which knows nothing of this one's: stdout, or
        stderr where it has to fail.
        """
        inherited = {
            k: v
            for k, v in environment(self.work).items()
            if k not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        result = subprocess.run(
            [str(self.folder / "bin" / program), *map(str, arguments)],
            check=False,
            cwd=self.work,
            env=inherited,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result.stderr if code else result.stdout

    def install(self, *packages: object) -> None:
        """Install without an index: what is missing must be among the given wheels."""
        given = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-build-isolation")
        self.call("python", "-m", "pip", "install", *given, *packages)


def build_wheels(folder: Path) -> list[Path]:
    """Wheels of the core and of every plugin."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder)]
    built = subprocess.run(
        [*command, *map(str, SOURCES)], check=False, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr.lower(), built.stderr
    return sorted(folder.glob("*.whl"))
