"""What stands for the content of large files where it would take too long to read them whole."""

from __future__ import annotations

from collections.abc import Iterator
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
