"""What a command showed. As long as nothing has changed since, it is shown again and nothing is
imported or worked out for it.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, cast

from bench.system.cache import cache_folder, keep


def digest(content: dict[str, Any]) -> str:
    """A name for the state of all that a command shows, the terminal included."""
    terminal = [sys.stdout.isatty(), shutil.get_terminal_size().columns]
    text = json.dumps({**content, "terminal": terminal})
    return hashlib.sha256(text.encode()).hexdigest()


def shown(state: str) -> str | None:
    """What was shown in this state; None where nothing was."""
    file = _file(state)
    return file.read_text(encoding="utf-8") if file.is_file() else None


def remember(state: str, text: str) -> None:
    """Keep what was shown in a state."""
    keep(_file(state), text)


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
    return cache_folder() / "shown" / f"{state}.txt"
