"""Which runs a driver works on. Drivers whose results lie in different places share the work
folders of a suite, and each would clear what the other has begun.
"""

from __future__ import annotations

import errno
import fcntl
from contextlib import suppress
from pathlib import Path
from zlib import crc32


class Claims:
    """Of runs whose work folders lie in one folder: locks of this process on a file in it, a byte
    for each run.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / ".claims").open("w")

    def take(self, run: str) -> bool:
        """Whether a run is ours from now on; else another driver of this machine has it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, crc32(run.encode()))
        except OSError as error:  # a disk that knows no locks keeps nobody away
            return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True

    def leave(self, run: str) -> None:
        with suppress(OSError):
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, crc32(run.encode()))

    def close(self) -> None:
        """Leave all."""
        self._file.close()
