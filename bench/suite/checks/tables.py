"""The training and validation rows of a suite, as they stand in their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.data import raw
from bench.data.formats import Format
from bench.data.raw import BadData, Origin, Split
from bench.data.sources import SourceSpec
from bench.data.tasks import Task, find_task
from bench.errors import UserError
from bench.methods.entry import Place
from bench.suite.checks.report import Mistake
from bench.suite.schema import Suite

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Table:
    """One split of one format of a task."""

    task: str
    format: Format
    split: Split
    rows: Dataset = field(repr=False)
    """All rows of the file, those that are held out too."""
    source: SourceSpec
    """How columns become those of the format; without templates where a package gives the rows."""
    origin: Origin | None
    held: frozenset[int] = frozenset()
    """Numbers of rows that are held out for validation."""
    held_out: bool = False

    def template(self, column: str) -> str | None:
        return getattr(self.source, column)

    @property
    def name(self) -> str:
        return f"{self.task}, {self.format}"

    @property
    def where(self) -> str:
        """What the rows are read from, for people."""
        if self.origin is None:
            return f"{self.name}, {self.split}"
        return self.origin.where(self._named)

    def place(self, row: int) -> str:
        """Where a row (from 0) stands, for people."""
        if self.origin is None:
            return f"{self.name}, {self.split} row {row + 1}"
        return self.origin.place(self._named, row)

    def key(self, name: str) -> Place:
        """The place in the suite of a key of the source."""
        return ("tasks", self.task, self.format.value, name)

    @property
    def _named(self) -> str:
        return self.source.split if self.split == "train" else self.source.validation_split


def tables(suite: Suite) -> Iterator[Table | Mistake]:
    """What can be read of all data that the suite trains on or measures drift on, and why the rest
    cannot be.
    """
    trained = dict.fromkeys((*suite.target, *suite.retain))
    for name in (*trained, *_drift_task(suite, set(trained))):
        if name in suite.tasks:
            for format, source in suite.tasks[name].sources().items():
                yield from _declared(suite, name, format, source)
        elif name in suite.target:
            yield from _offered(find_task(name, suite.tasks, suite.folder))


def _drift_task(suite: Suite, known: set[str]) -> list[str]:
    return [suite.drift] if suite.drift and suite.drift not in known else []


def _declared(
    suite: Suite, name: str, format: Format, source: SourceSpec
) -> Iterator[Table | Mistake]:
    origin = source.origin(suite.folder)
    key = ("tasks", name, format.value)
    try:
        held_out = source.holds_out(origin)
    except BadData as error:
        yield from _as_mistakes(error, origin, key)
        return
    held: frozenset[int] = frozenset()
    splits: dict[Split, str] = {"train": source.split, "validation": source.validation_split}
    for split, named in splits.items():
        if split == "validation" and held_out:
            continue
        try:
            rows = raw.rows(origin, named)
        except BadData as error:
            key_of_split = "split" if split == "train" else "validation_split"
            yield Mistake(f"{name}, {format}: {error}", (*key, key_of_split))
            continue
        if not len(rows):
            yield Mistake(f"{origin.where(named)}: there are no rows")
            continue
        if held_out:
            division = raw.division(origin, named)
            held = frozenset(division.held)
            if not division.kept:
                yield Mistake(_nothing_left(origin, named, len(rows)))
        yield Table(name, format, split, rows, source, origin, held, held_out)


def _nothing_left(origin: Origin, split: str, rows: int) -> str:
    what = "it has one row" if rows == 1 else f"all {rows:,} rows are the same"
    return (
        f"{origin.where(split)}: {what}, so none can be held out for validation; give more rows, or"
        " a validation split"
    )


def _as_mistakes(error: BadData, origin: Origin, key: Place) -> Iterator[Mistake]:
    """Each reason in a line; the suite is to blame where no file is."""
    for line in error.lines:
        in_file = any(line.startswith(origin.shown(file)) for file in origin.all_files())
        yield Mistake(line, None if in_file else (*key, "path"))


def _offered(task: Task) -> Iterator[Table | Mistake]:
    """Of a package's task the format that trained and loaded models are compared on."""
    from bench.evaluation.agreement import TEXT_COLUMNS

    format = next((f for f in TEXT_COLUMNS if f in task.formats), None)
    if format is None:
        return
    splits: tuple[Split, ...] = ("train", "validation")
    for split in splits:
        try:
            rows = task.load(format, split)
        except Exception as error:
            named = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            yield Mistake(f"{task.name} cannot give its {split} rows: {named}{error}")
            continue
        if not len(rows):
            yield Mistake(f"{task.name}, {format}: there are no {split} rows")
            continue
        yield Table(task.name, format, split, rows, SourceSpec(path=task.name), None)
