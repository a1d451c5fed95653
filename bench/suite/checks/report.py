"""What was found in the data of a suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.data.formats import Format
from bench.methods.entry import Place
from bench.suite.yaml_file import Document, read
from bench.system.errors import UserError


@dataclass(frozen=True)
class Mistake:
    """Something that would make runs fail, in one line."""

    what: str
    """It begins with the file and the line or row, where the data is to blame."""
    place: Place | None = None
    """The key of the suite that is to blame, otherwise."""
    here: bool = False
    """Whether another machine may have what is missing: a plan warns of it, a run is refused."""


def of_rows(wrong: dict[str, list[tuple[int, str]]], place: Callable[[int], str]) -> list[Mistake]:
    """What is wrong with rows, each kind with its first row."""
    told = []
    for (row, what), *rest in wrong.values():
        more = f" (and {len(rest):,} more row{'s' if len(rest) > 1 else ''})" if rest else ""
        told.append(Mistake(f"{place(row)}: {what}{more}"))
    return told


@dataclass(frozen=True)
class Lengths:
    """Rows in tokens, the end of the sequence included."""

    looked_at: int
    """Rows that were tokenised, at even distance."""
    shortest: int
    median: int
    longest: int
    max_length: int
    share_cut: float
    """Share of rows longer than `max_length`, 0..1."""


@dataclass(frozen=True)
class Source:
    """The training data of one task in one format."""

    task: str
    format: str
    training_rows: int
    validation_rows: int
    held_out: bool
    """Whether the validation rows are training rows that were held out."""
    lengths: Lengths | None

    def sentences(self) -> list[str]:
        """What is worth knowing, for people."""
        told = []
        if self.held_out:
            told.append(
                f"{self.task}: no validation split; {self.validation_rows:,} of"
                f" {self.training_rows + self.validation_rows:,} training rows are held out by"
                " their content"
            )
        rows = f"{self.training_rows:,} training and {self.validation_rows:,} validation rows"
        if self.lengths:
            rows += (
                f" of {self.lengths.median:,} tokens (median; longest {self.lengths.longest:,});"
                f" max_length {self.lengths.max_length:,} cuts {_share(self.lengths.share_cut)}"
                f"{self.but()}"
            )
        return [*told, f"{self.task}, {self.format}: {rows}"]

    def but(self) -> str:
        """Whether some methods lose nothing of a long row, or more."""
        if self.lengths and self.format == Format.PROMPT_ONLY:
            kept = self.lengths.max_length - self.lengths.max_length // 2
            return f"; of a prompt longer than {kept:,} the start may make room for the answer"
        cut = self.lengths and self.lengths.share_cut
        if not cut or self.format != Format.LANGUAGE_MODELING:
            return ""
        return ", but not for a method that packs texts: there the rest fills another row"


@dataclass(frozen=True)
class Overlap:
    """Items that are among the training rows too, but for case and white space."""

    task: str
    """Whose training rows."""
    format: str
    other: str
    """Whose items: a task with its split."""
    items: int
    of: int
    examples: list[tuple[str, str]]
    """Places of an item and of a training row."""

    def sentence(self) -> str:
        shown = "; ".join(f"{item} = {row}" for item, row in self.examples)
        more = "; …" if self.items > len(self.examples) else ""
        return (
            f"{self.items:,} of {self.of:,} {self.other} items are in the training data of"
            f" {self.task} ({self.format}): {shown}{more}"
        )


MUCH = 0.1  # share of rows that are cut, from which `bench run` warns too


@dataclass
class Report:
    """What is known of a suite's data before anything is trained."""

    mistakes: list[Mistake] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)

    def warnings(self) -> list[str]:
        """What will not make a run fail, but may make its result worthless."""
        cut = [
            f"{_share(s.lengths.share_cut)} of the rows of {s.task} ({s.format}) are longer than"
            f" max_length {s.lengths.max_length:,}{s.but()}"
            for s in self.sources
            if s.lengths and s.lengths.share_cut >= MUCH
        ]
        missing = [mistake.what for mistake in self.mistakes if mistake.here]
        return missing + [overlap.sentence() for overlap in self.overlaps] + cut

    def notes(self) -> list[str]:
        """One line each; what is true of several formats is said once."""
        return list(dict.fromkeys(line for s in self.sources for line in s.sentences()))

    def data(self) -> dict[str, Any]:
        """All but mistakes, for JSON."""
        return {
            "sources": [
                {**vars(s), "lengths": vars(s.lengths) if s.lengths else None} for s in self.sources
            ],
            "overlaps": [vars(overlap) for overlap in self.overlaps],
            "warnings": self.warnings(),
        }

    def refuse(self, document: Document | None = None, to_run: bool = True) -> None:
        """A `UserError` with every mistake in a line of its own, if there is one that matters.
        `document` is the suite file, whose lines are told where it is to blame.
        """
        lines = []
        for mistake in dict.fromkeys(m for m in self.mistakes if to_run or not m.here):
            where = ""
            if document is not None and mistake.place is not None:
                where = _where(document, mistake.place)
            lines.append(where + mistake.what)
        if lines:
            name = document.file if document else "the suite"
            count = f"{len(lines)} mistake{'s' if len(lines) > 1 else ''}"
            raise UserError("\n  ".join([f"{name} has {count} in its data:", *lines]))


def _where(document: Document, place: Place) -> str:
    """File and line of a key, in the suite or in its file of tasks."""
    tasks = document.content.get("tasks")
    if isinstance(tasks, str) and place[0] == "tasks":
        document, place = read(document.file.parent / tasks, "tasks"), place[1:]
    return f"{document.file.name}, line {document.line(place)}: "


def _share(value: float) -> str:
    return "none" if not value else "<1%" if value < 0.01 else f"{value:.0%}"
