"""Where files lie that can be made again: artifacts, models that were unpacked, what belongs to a
start.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.system.files import write_atomically


def cache_folder() -> Path:
    """The folder for all of them, outside the results."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bench"


def file_for(kind: str, decides: Sequence[Any]) -> Path:
    """Where that lies which such values, as JSON, decide."""
    digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]
    return cache_folder() / kind / f"{digest}.json"


def keep(file: Path, content: str | bytes) -> None:
    """Write down what would otherwise be worked out again. Where nothing can be written, it will
    be.
    """
    with suppress(OSError):
        write_atomically(file, content)
