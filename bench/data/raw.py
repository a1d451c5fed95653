"""Rows as they stand in files or on the hub, before a format gives them its columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.data import lines
from bench.data.folders import BUILT_IN, files_below, located
from bench.data.held_out import Division, divide, each_row
from bench.data.hub import is_connection, no_waiting, one_line, out_of_reach
from bench.data.templates import evaluated
from bench.system.errors import UserError, nearest

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

Split = Literal["train", "validation"]
REMEMBERED = 64  # data sets whose tables (mapped, not read) or divisions stay known


class BadData(UserError):
    """Data cannot be read; each line says where and why."""

    def __init__(self, *lines: str, key: str = "path") -> None:
        super().__init__("; ".join(lines))
        self.lines = lines
        self.key = key
        """Of the source in the suite, which is to blame where no file is."""


@dataclass(frozen=True)
class Origin:
    """What `datasets.load_dataset` is asked for. Equal origins give equal rows: local files count
    with their size and time.
    """

    path: str
    name: str | None
    revision: str | None
    data_dir: str | None
    data_files: tuple[tuple[str, tuple[str, ...]], ...]
    """Names by split, paths made absolute."""
    folder: Path
    """Where relative paths start; files in it are told by their relative path."""
    below: Path | None = None
    """The folder of this machine, which need not exist, that data is read from."""
    stamps: tuple[tuple[int, int], ...] = ()

    def files(self, split: str) -> list[Path]:
        """The local files of a split, in their order."""
        names = dict(self.data_files).get(split, ())
        return [Path(name) for name in names if "://" not in name]

    def all_files(self) -> list[Path]:
        """The local files, which need not exist."""
        return [file for split, _ in self.data_files for file in self.files(split)]

    def csv_files(self) -> list[Path]:
        """Those of the local files that are read as CSV."""
        files = [*self.all_files(), *(files_below(self.below) if self.below else [])]
        loader = self.path if self.path in BUILT_IN else None  # else, the names of files decide
        return [file for file in files if (loader or file.suffix.lstrip(".")) == "csv"]

    def shown(self, file: Path) -> str:
        """A file as the suite would name it."""
        inside = file.is_relative_to(self.folder)
        return str(file.relative_to(self.folder)) if inside else str(file)

    def place(self, split: str, row: int) -> str:
        """Where a row (from 0) of a split stands, for people: "data/train.jsonl, line 8"."""
        files, first = self.files(split), 0
        for file in files:
            found = lines.of_rows(file)
            if row - first < len(found):
                return f"{self.shown(file)}, line {found[row - first]}"
            first += len(found)
        return f"{self.where(split)}, row {row + 1}{' of all' if len(files) > 1 else ''}"

    def where(self, split: str) -> str:
        """What a split is read from, for people."""
        files = self.files(split)
        return ", ".join(self.shown(f) for f in files) or f"{self.named}, split {split}"

    @property
    def named(self) -> str:
        """The data, for people."""
        return self.shown(self.below) if self.below else self.path


def origin(
    path: str,
    name: str | None,
    revision: str | None,
    data_dir: str | None,
    data_files: Any,
    folder: Path,
) -> Origin:
    """The origin of data; relative files start at `folder`."""
    named = each_file(data_files, lambda name: str((folder / name).resolve()))
    groups = named if isinstance(named, dict) else {"train": named} if named else {}
    files = (
        (s, (names,) if isinstance(names, str) else tuple(names)) for s, names in groups.items()
    )
    path, data_dir, below = located(path, data_dir, folder)
    made = Origin(path, name, revision, data_dir, tuple(files), folder.resolve(), below)
    inside = files_below(below) if below else []
    known = [f.stat() for f in (*made.all_files(), *inside) if f.is_file()]
    return replace(made, stamps=tuple((s.st_size, s.st_mtime_ns) for s in known))


def each_file(files: Any, change: Callable[[str], Any]) -> Any:
    """`data_files` in whatever shape, with each local name changed."""
    if isinstance(files, dict):
        return {split: each_file(group, change) for split, group in files.items()}
    if isinstance(files, list):
        return [each_file(name, change) for name in files]
    return files if files is None or "://" in files else change(files)


def rows(origin: Origin, split: str, key: str = "split") -> Dataset:
    """A split by the name that `datasets` knows, slices such as train[:90%] included; `BadData`
    where there is none. `key` of the source names it.
    """
    found = splits(origin)
    if split in found:
        return _everything(origin)[split]
    named = re.split(r"[\[+(]", split)[0]
    if named not in found:
        has = ", ".join(found)
        what = f"{_data(origin)} has no split {split}; it has {has}{nearest(split, found)}"
        raise BadData(what, key=key)
    try:
        return _load(origin, split)
    except ValueError as error:
        raise BadData(f"{_data(origin)}: {one_line(error)}", key=key) from None


def splits(origin: Origin) -> list[str]:
    return [str(name) for name in _everything(origin)]


@lru_cache(maxsize=REMEMBERED)
def numbers(origin: Origin, split: str, where: str | None, key: str = "split") -> Sequence[int]:
    """Which rows of a split there are, from 0: those for which `where`, if given, is true."""
    found = rows(origin, split, key)
    if where is None:
        return range(len(found))
    chosen = []
    for number, row in enumerate(each_row(found)):
        try:
            if evaluated(where, row):
                chosen.append(number)
        except UserError as error:
            raise BadData(f"{origin.place(split, number)}: where: {error}", key="where") from None
    return chosen


@lru_cache(maxsize=REMEMBERED)
def division(origin: Origin, split: str, where: str | None) -> Division:
    """Which rows of a training split are held out, where nothing else is there to validate on."""
    return divide(rows(origin, split), numbers(origin, split, where))


@lru_cache(maxsize=REMEMBERED)
def _everything(origin: Origin) -> DatasetDict:
    local = origin.path in BUILT_IN or origin.below is not None
    if not local and Path(origin.path).is_dir():  # which `datasets` would read instead of the hub
        what = "is a folder where you work, and none beside the suite file, where paths start"
        raise BadData(f"{origin.path} {what}")
    told = [(file, lines.unnamed_cells(file)) for file in origin.csv_files()]
    if wrong := [f"{origin.shown(file)}, {what}" for file, what in told if what]:
        raise BadData(*wrong)
    try:
        with no_waiting(not local):
            return _load(origin, None)
    except Exception as error:
        raise BadData(*_reasons(origin, error)) from error


def _load(origin: Origin, split: str | None) -> Any:
    import datasets

    datasets.disable_progress_bars()
    before = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what fails is told by whoever asked
    try:
        return datasets.load_dataset(
            origin.path,
            name=origin.name,
            revision=origin.revision,
            data_dir=origin.data_dir,
            data_files={split: list(names) for split, names in origin.data_files} or None,
            split=split,
        )
    finally:
        datasets.logging.set_verbosity(before)


def _reasons(origin: Origin, error: Exception) -> Iterator[str]:
    """Why data could not be loaded: the files to blame, or else what the library says."""
    found = False
    for file in origin.all_files():
        if what := lines.trouble(origin.path, file, error):
            found = True
            yield f"{origin.shown(file)}{', ' if what.startswith('line') else ': '}{what}"
    if found:
        return
    if is_connection(error):
        yield out_of_reach(origin.path, "data set", BUILT_IN)
    else:
        said = one_line(error.__cause__ or error)
        yield f"{_data(origin)} cannot be loaded: {said}"


def _data(origin: Origin) -> str:
    return ", ".join(map(origin.shown, origin.all_files())) or f"{origin.named} data"
