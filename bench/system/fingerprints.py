"""What stands for the content of a model's folder, which would take too long to read whole, and of
a package's code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

SAMPLED = 1 << 20  # bytes from each end of a file that stand for it in a fingerprint
WEIGHTS_AND_TEXT = {".json", ".safetensors", ".model", ".jinja"}


def of_model_folder(folder: Path) -> Iterator[bytes]:
    """Names, sizes and both ends of the files that make up a model."""
    for file in sorted(folder.glob("*")):
        if file.suffix in WEIGHTS_AND_TEXT:
            yield f"{file.name} {file.stat().st_size}".encode()
            yield _ends(file)


def _ends(file: Path) -> bytes:
    with file.open("rb") as stream:
        head = stream.read(SAMPLED)
        stream.seek(max(SAMPLED, file.stat().st_size - SAMPLED))
        return head + stream.read()


@cache
def of_package(name: str) -> str:
    """Hash of all Python files of a package or of a module that stands alone."""
    spec = find_spec(name)
    folders = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    if spec and spec.origin and not folders:
        files = [Path(spec.origin)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
