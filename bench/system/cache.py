"""Where files lie that can be made again: artifacts, and models that were unpacked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory


def cache_folder() -> Path:
    """The folder for all of them, outside the results."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bench"


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Put a file there whole or not at all, also when two runs write it at once. `write` makes it
    at the path that it is given.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=file.parent, prefix=".writing-") as place:
        made = Path(place) / file.name
        write(made)
        os.replace(made, file)
