"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bench.system.location import Location, Remote


def write_atomically(file: Location, content: str | bytes) -> None:
    """Readers see the old file or the new one, never half of it."""
    data = content.encode() if isinstance(content, str) else content
    if isinstance(file, Remote):
        file.write_bytes(data)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
