"""What `bench run` showed of a suite that is finished. As long as nothing has changed since, no
record need be read and worked out again to show it.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO, cast

from bench.records.store import Store
from bench.suite.file import resolved
from bench.suite.plan import make_plan
from bench.suite.schema import Suite
from bench.system.cache import cache_folder
from bench.system.entry_points import PACKAGE
from bench.system.files import write_atomically
from bench.system.location import versions

FOLDERS = ("records", "items", "report")


def state(suite: Suite, kind: str, store: Store) -> str:
    """A hash of all that decides what a suite has to run and to show: the suite and its data, each
    file of the results by time and size, and the terminal. No record is read.
    """
    around = versions(store.folder)
    content = {
        "bench": version(PACKAGE),
        "folder": str(store.folder),
        "suite": resolved(suite),
        "runs": [run.id for run in make_plan(suite, kind)],
        "plan": [around.get(name) for name in ("plan.json", "suite.yaml")],
        "files": [sorted(versions(store.folder / name).items()) for name in FOLDERS],
        "terminal": [sys.stdout.isatty(), shutil.get_terminal_size().columns],
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def shown(state: str) -> str | None:
    """What was shown when the results were in this state; None where they were not."""
    file = _file(state)
    return file.read_text(encoding="utf-8") if file.is_file() else None


def remember(state: str, text: str) -> None:
    """Keep what was shown of finished results."""
    write_atomically(_file(state), text)


@contextmanager
def copied() -> Iterator[io.StringIO]:
    """Gives what is printed in here, which is printed all the same."""
    before, kept = sys.stdout, io.StringIO()
    try:
        with redirect_stdout(cast(TextIO, _Copied(before, kept))):
            yield kept
    finally:
        before.flush()


class _Copied:
    """A stream that keeps a copy."""

    def __init__(self, stream: TextIO, copy: io.StringIO) -> None:
        self._stream, self._copy = stream, copy

    def write(self, text: str) -> int:
        self._copy.write(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _file(state: str) -> Path:
    return cache_folder() / "finished" / f"{state}.txt"
