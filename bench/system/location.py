"""Folders anywhere that fsspec reaches, such as s3://bucket/folder, used like a `Path`."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.system.entry_points import PACKAGE
from bench.system.errors import UserError

QUICK = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 3}}
"""For S3: what cannot be reached is told soon."""


@dataclass(frozen=True)
class Remote:
    """A file or a folder behind an fsspec filesystem. As much of `Path` as results need.

    A file is put whole: readers see the old one or the new one. Errors other than a missing file
    are a `UserError` in one sentence.
    """

    fs: Any
    url: str
    """With its protocol, and no slash at the end."""

    def __truediv__(self, name: str | Path) -> Remote:
        return Remote(self.fs, f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def resolve(self) -> Remote:
        return self

    def is_file(self) -> bool:
        with _told(self.url, "read"):
            return self.fs.isfile(self.url)

    def is_dir(self) -> bool:
        """Whether anything is in it."""
        return bool(self.versions())

    def read_bytes(self) -> bytes:
        with _told(self.url, "read"):
            return self.fs.cat_file(self.url)

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        with _told(self.url, "written"):
            if self.fs.protocol == "memory":
                self.fs.makedirs(self.url.rpartition("/")[0], exist_ok=True)
            self.fs.pipe_file(self.url, data)

    def unlink(self) -> None:
        with _told(self.url, "removed"):
            self.fs.rm_file(self.url)

    def versions(self) -> dict[str, Any]:
        """By the name of each file in this folder, what changes when the file does."""
        with _told(self.url, "read"):
            try:
                found = self.fs.ls(self.url, detail=True, refresh=True)
            except FileNotFoundError:
                return {}
        keys = ("ETag", "etag", "mtime", "created", "size")
        return {
            one["name"].rstrip("/").rpartition("/")[2]: tuple(str(one.get(key)) for key in keys)
            for one in found
        }

    def read_each(self, names: Iterable[str]) -> dict[str, bytes]:
        """The content of many files at once."""
        paths = {self.fs._strip_protocol(f"{self.url}/{name}"): name for name in names}
        with _told(self.url, "read"):
            found = self.fs.cat(list(paths)) if paths else {}
        return {paths[path]: content for path, content in found.items()}


Location = Path | Remote


def location(where: str | Path) -> Any:
    """A `Path`, or a `Remote` for s3://bucket/folder and the like. UserError where what speaks to
    it is not installed.
    """
    text = str(where)
    if "://" not in text:
        return Path(where)
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    import fsspec

    protocol = text.partition("://")[0]
    options = {"config_kwargs": QUICK} if protocol in ("s3", "s3a") else {}
    try:
        fs = fsspec.filesystem(protocol, **options)
    except ImportError as error:
        extra = f'; pip install "{PACKAGE}[s3]"' if protocol in ("s3", "s3a") else ""
        raise UserError(f"{text} needs a package that is not installed: {error}{extra}") from None
    except ValueError:
        raise UserError(f"{text}: no protocol {protocol}:// is known") from None
    return Remote(fs, text.rstrip("/"))


def versions(folder: Location) -> dict[str, Any]:
    """By the name of each file in a folder, what changes when the file does; empty where there is
    no folder.
    """
    if isinstance(folder, Remote):
        return folder.versions()
    if not folder.is_dir():
        return {}
    found = {}
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # of a file being written, the name is gone soon
            status = file.stat()
            found[file.name] = status.st_mtime_ns, status.st_size
    return found


def read_each(folder: Location, names: Iterable[str]) -> dict[str, bytes]:
    """The content of files in a folder, by name."""
    if isinstance(folder, Remote):
        return folder.read_each(names)
    return {name: (folder / name).read_bytes() for name in names}


def put_folder(folder: Path, to: Location) -> None:
    """Copy a folder with all that is in it. UserError where it cannot be written."""
    with _told(str(to), "written"):
        if isinstance(to, Remote):
            to.fs.put(f"{folder}/", f"{to.url}/", recursive=True)
        else:
            shutil.copytree(folder, to, dirs_exist_ok=True)


def get_folder(folder: Location, to: Path) -> None:
    """Copy a folder to this machine; nothing where there is none."""
    if isinstance(folder, Remote):
        with _told(folder.url, "read"), suppress(FileNotFoundError):
            folder.fs.get(f"{folder.url}/", f"{to}/", recursive=True)
    elif folder.is_dir():
        shutil.copytree(folder, to, dirs_exist_ok=True)


@contextmanager
def _told(url: str, what: str) -> Iterator[None]:
    """Whatever a server or its client says is the user's to know, in one sentence."""
    try:
        yield
    except FileNotFoundError:
        if what == "read":
            raise
        raise UserError(f"{url} cannot be {what}: there is no such bucket or folder") from None
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{url} cannot be {what}: {said}") from None
