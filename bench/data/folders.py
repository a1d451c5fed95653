"""Data in folders of this machine: where they are, and what lies in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

BUILT_IN = ("json", "csv", "parquet", "text", "arrow", "xml", "webdataset")
"""Loaders of `datasets`, which read a `data_dir` of this machine."""
BEGINNINGS = (".", "/", "~")


def is_folder(path: str, folder: Path) -> bool:
    """Whether data is named by a folder, which starts at `folder`, and not by a loader or a name on
    the hub.
    """
    return path not in BUILT_IN and (path.startswith(BEGINNINGS) or (folder / path).is_dir())


def located(path: str, data_dir: str | None, folder: Path) -> tuple[str, str | None, Path | None]:
    """`path` and `data_dir` with what starts at `folder` made absolute; and the folder of this
    machine, which need not exist, that data is read from.

    Below a folder, or on the hub, `data_dir` is a part of it.
    """
    if is_folder(path, folder):
        found = absolute(path, folder)
        return str(found), data_dir, found / (data_dir or "")
    if path in BUILT_IN and data_dir is not None:
        found = absolute(data_dir, folder)
        return path, str(found), found
    return path, data_dir, None


def moved(path: str, data_dir: str | None, folder: Path, place: str) -> tuple[str, str | None]:
    """`path` and `data_dir`, which start at `folder`, for a reader who has to take the relative way
    `place` to it.
    """
    if is_folder(path, folder):
        return _relocated(place, path), data_dir
    if path in BUILT_IN and data_dir is not None:
        return path, _relocated(place, data_dir)
    return path, data_dir


def files_below(folder: Path) -> list[Path]:
    """All files in a folder in a fixed order, but for hidden ones, which are no data."""
    names = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    shown = sorted(name.as_posix() for name in names if not name.as_posix().startswith("."))
    return [folder / name for name in shown if "/." not in name]


def contents(folder: Path) -> Iterator[bytes]:
    """What makes the data in a folder what it is: names, from which splits follow, and bytes."""
    for file in files_below(folder):
        yield file.relative_to(folder).as_posix().encode()
        yield hashlib.sha256(file.read_bytes()).digest()


def absolute(name: str, folder: Path) -> Path:
    """Where a name leads that is relative to a folder, or to the home folder after a ~."""
    return (folder / Path(name).expanduser()).resolve()


def _relocated(place: str, name: str) -> str:
    if name.startswith("~"):
        return name
    way = os.path.normpath(Path(place) / name)
    return way if way.startswith(BEGINNINGS) else f"./{way}"
