"""The training and validation rows of a suite, as they stand in their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from bench.data import raw
from bench.data.formats import Format
from bench.data.raw import BadData, Split
from bench.data.rewards.reward import Reward
from bench.data.sources import Part, Row, SourceSpec, read, shaped
from bench.data.tasks import Task
from bench.methods.entry import Place
from bench.suite.checks.report import Mistake
from bench.suite.schema import Suite
from bench.system.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Table:
    """One split of one format of a task."""

    task: str
    format: Format
    split: Split
    rows: Dataset = field(repr=False)
    source: SourceSpec | None = None
    """How columns become those of the format; None where a package gives the rows."""
    part: Part | None = None
    reward: Reward | None = None

    @property
    def name(self) -> str:
        return f"{self.task}, {self.format}"

    @property
    def where(self) -> str:
        """What the rows are read from, for people."""
        if self.part is None:
            return f"the {self.split} data"
        return self.part.origin.where(self.part.named)

    def place(self, row: int) -> str:
        """Where a row (from 0) stands, for people."""
        if self.part is None:
            return f"{self.name}, {self.split} row {row + 1}"
        return self.part.place(row)

    def key(self, column: str) -> Place:
        """The place in the suite that says how a column is made."""
        own = self.source is not None and column in self.source.model_fields_set
        return ("tasks", self.task, self.format.value, *((column,) if own else ()))

    def shaped(self, row: Row) -> Row:
        """A row in the columns of the format, as methods get it."""
        return shaped(row, self.format, self.source, self.reward) if self.source else row

    def named(self, column: str, row: Row) -> str:
        """What a column of the format is made from, for people."""
        own = self.source is not None and getattr(self.source, column) is not None
        return "messages" if not own and column not in row and "messages" in row else column


def tables(suite: Suite) -> Iterator[Table | Mistake]:
    """What can be read of all data that the suite trains on or measures drift on, and why the rest
    cannot be.
    """
    trained = dict.fromkeys((*suite.target, *suite.retain))
    for name in trained:
        for split in get_args(Split):
            if name in suite.tasks:
                for format, source in suite.tasks[name].sources().items():
                    yield from _declared(suite, name, format, source, split)
            elif name in suite.target:
                yield from _offered(suite.task(name), split)
    text = suite.tasks[suite.drift].language_modeling if suite.drift in suite.tasks else None
    if text is not None and suite.drift is not None and suite.drift not in trained:
        yield from _declared(suite, suite.drift, Format.LANGUAGE_MODELING, text, "validation")


def _declared(
    suite: Suite, name: str, format: Format, source: SourceSpec, split: Split
) -> Iterator[Table | Mistake]:
    try:
        part = read(source, suite.folder, split)
        rows = part.rows
        if not len(rows):
            yield Mistake(_no_rows(part, source))
            return
    except BadData as error:
        yield from _mistakes(error, source, suite, ("tasks", name, format.value))
        return
    reward = suite.tasks[name].reward_of(suite.folder) if format == Format.PROMPT_ONLY else None
    yield Table(name, format, split, rows, source, part, reward)


def _no_rows(part: Part, source: SourceSpec) -> str:
    place, rows = part.origin.where(part.named), raw.numbers(part.origin, part.named, source.where)
    if not rows:
        return f"{place}: there are no rows{' for which where is true' if source.where else ''}"
    what = "it has one row" if len(rows) == 1 else f"all {len(rows):,} rows are the same"
    return (
        f"{place}: {what}, so none can be held out for validation; give more rows, or a validation"
        " split"
    )


def _mistakes(
    error: BadData, source: SourceSpec, suite: Suite, task: tuple[str, str, str]
) -> Iterator[Mistake]:
    """Each reason in a line; the suite is to blame where no file is."""
    origin = source.origin(suite.folder)
    for line in error.lines:
        if error.key != "path":
            yield Mistake(f"{task[1]}, {task[2]}: {line}", (*task, error.key))
        elif any(line.startswith(origin.shown(file)) for file in origin.all_files()):
            yield Mistake(line)
        else:
            yield Mistake(line, (*task, "path"))


def _offered(task: Task, split: Split) -> Iterator[Table | Mistake]:
    """Of a package's task the format that trained and loaded models are compared on."""
    from bench.evaluation.agreement import COLUMNS

    format = next((f for f in COLUMNS if f in task.formats), None)
    if format is None:
        return
    try:
        rows = task.load(format, split)
    except Exception as error:
        named = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        yield Mistake(f"{task.name} cannot give its {split} rows: {named}{error}")
        return
    if len(rows):
        yield Table(task.name, format, split, rows)
    else:
        yield Mistake(f"{task.name}, {format}: there are no {split} rows")
