"""Test and validation items that are among the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.data.chat import Content
from bench.data.formats import Format
from bench.data.held_out import mark
from bench.suite.checks.evaluations import Items
from bench.suite.checks.report import Overlap
from bench.suite.checks.tables import Table

EXAMPLES = 3  # places that are told of each overlap


def normal(text: str) -> str:
    """Lower case, and one space where there is white space."""
    return " ".join(text.lower().split())


class Seen(NamedTuple):
    """A row, as far as overlap and length go."""

    number: int
    asked: str
    """What is asked or, of plain text, said in it, as `normal` has it."""
    content: int | None
    """Stands for all of its columns, where items have the same ones."""
    wholes: list[Content]
    """The sequences that are learned from it; empty where its length is not looked at."""


@dataclass
class Known:
    """Items to look for among training rows, by their text and by their content."""

    name: str
    items: Items | Table
    count: int
    by_text: dict[str, list[int]] = field(default_factory=dict)
    by_content: dict[int | None, list[int]] = field(default_factory=dict)
    found: dict[int, int] = field(default_factory=dict)
    """Numbers of items, and of the first training row that is the same."""

    def look(self, row: Seen) -> None:
        """Note which items a training row is."""
        same = self.by_text.get(row.asked, []) if row.asked else []
        for number in [*same, *self.by_content.get(row.content, ())]:
            self.found.setdefault(number, row.number)

    def overlap(self, table: Table) -> Overlap | None:
        if not self.found:
            return None
        examples = [
            (self.items.place(item), table.place(row))
            for item, row in sorted(self.found.items())[:EXAMPLES]
        ]
        return Overlap(table.task, table.format, self.name, len(self.found), self.count, examples)


def of_evaluation(items: Items, format: Format) -> Known:
    """The items of an evaluation: their questions and, for plain text, questions with answers."""
    known = Known(items.name, items, len(items.questions))
    for number, (question, answer) in enumerate(zip(items.questions, items.answers, strict=True)):
        plain = format == Format.LANGUAGE_MODELING
        for text in {normal(question), normal(f"{question} {answer}" if plain else question)}:
            known.by_text.setdefault(text, []).append(number)
    for number, doc in enumerate(items.docs):
        known.by_content.setdefault(mark(doc), []).append(number)
    return known


def of_validation(table: Table, rows: Sequence[Seen]) -> Known:
    """Validation rows of a table, by what is asked in them."""
    known = Known(f"validation ({table.name})", table, len(rows))
    for row in rows:
        known.by_text.setdefault(row.asked, []).append(row.number)
    return known
