"""What is published of a results folder: its suites, their reports made anew, and the files behind
them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.analysis import Analysis
from bench.records.schema import Record
from bench.records.store import AGAIN, Store
from bench.system.errors import UserError
from bench.system.files import write_atomically


@dataclass(frozen=True)
class Published:
    """One suite, with its report as it stands on disk."""

    name: str
    """Of its folder, with the folders above it in the results."""
    store: Store
    analysis: Analysis

    @property
    def folder(self) -> Path:
        """Where its results lie; what is published lies on this machine."""
        assert isinstance(self.store.folder, Path)
        return self.store.folder

    @property
    def records(self) -> list[Record]:
        return self.store.planned()

    def copy_to(self, folder: Path, *names: str) -> list[Path]:
        """Copy the records, and of the files named those that are there; gives the records."""
        records = [Path("records", f"{record.id}.json") for record in self.records]
        for file in (*map(Path, names), *records):
            if (self.folder / file).is_file():
                copy(self.folder / file, folder / file)
        return [folder / file for file in records]

    @property
    def summary(self) -> str:
        """The table of the terminal, in Markdown."""
        return (self.folder / "report" / "summary.md").read_text(encoding="utf-8")


def gather(results: Path) -> list[Published]:
    """Every suite in a folder, its report made anew. UserError as in `suites_in`."""
    from bench import report

    def name(folder: Path) -> str:
        inside = folder.relative_to(results).as_posix()
        return folder.resolve().name if folder == results else inside

    return [
        Published(name(folder), store := Store(folder), report.write(store))
        for folder in suites_in(results)
    ]


def suites_in(results: Path) -> list[Path]:
    """The folders of suites in a results folder, however deep, or the folder itself where it is
    one. Runs that were done once more belong to their suite. UserError where there is none.
    """
    if not results.is_dir():
        raise UserError(
            f"there is no folder {results}; give a results folder, or the folder of one suite in it"
        )
    if (results / "records").is_dir():
        return [results]
    records = (file for file in results.rglob("records") if file.is_dir())
    folders = {file.parent for file in records if file.parent.name != AGAIN}
    if not folders:
        raise UserError(
            f"{results} holds no results: neither it nor a folder in it has a folder records/"
        )
    return sorted(folders, key=lambda folder: (len(folder.parts), folder))


def copy(file: Path, to: Path) -> None:
    """Copy a file whole or not at all, readable by everybody."""
    write_atomically(to, file.read_bytes())


def copy_folder(folder: Path, to: Path) -> None:
    """Copy all files of a folder and of those in it, but locks; what is there besides stays."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith(".lock"):
            target = to / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)  # weights are large: they need not be held in memory
