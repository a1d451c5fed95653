"""Where files lie that can be made again: artifacts, models that were unpacked, what belongs to a
start.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder for all of them, outside the results."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bench"
