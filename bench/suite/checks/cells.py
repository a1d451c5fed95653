"""Whether every row gives what its format needs, and the texts that come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.data.formats import COLUMNS, Format
from bench.data.turns import mistake as mistake_in_turns
from bench.suite.checks.columns import MESSAGES, is_conversation, sources_of
from bench.suite.checks.report import Mistake
from bench.suite.checks.tables import Table

AT_ONCE = 2000  # rows that are Python objects at the same time
CONVERSATIONS = ("prompt", "completion", "chosen", "rejected", MESSAGES)
NEVER_EMPTY = ("completion", "chosen", "answer")  # a file of plain text may have blank lines
Row = dict[str, Any]


@dataclass
class _Problem:
    """Something that is wrong with rows: the first of them, and how many there are."""

    row: int
    what: str
    count: int = 1


@dataclass
class Looker:
    """Goes through the rows of a table once."""

    table: Table
    problems: dict[tuple[str, str], _Problem] = field(default_factory=dict)
    _checks: dict[str, Callable[[int, str, Row], Any]] = field(default_factory=dict)

    def shaped(self) -> Iterator[tuple[int, Row, Row | None]]:
        """Number, raw row, and row in the columns of the format; None where it cannot be made."""
        table = self.table
        sources = sources_of(table)
        needed = list(dict.fromkeys(name for names in sources.values() for name in names))
        data = table.rows
        for first in range(0, len(data), AT_ONCE):
            columns = data[first : first + AT_ONCE]
            width = len(columns[needed[0]]) if needed else 0
            for offset in range(width):
                raw = {name: cells[offset] for name, cells in columns.items()}
                yield first + offset, raw, self._shaped(first + offset, raw, sources)

    def mistakes(self) -> Iterator[Mistake]:
        """What was wrong with the rows seen, each kind with its first row."""
        for problem in sorted(self.problems.values(), key=lambda p: p.row):
            rest = problem.count - 1
            more = f" (and {rest:,} more row{'s' if rest > 1 else ''})" if rest else ""
            yield Mistake(f"{self.table.place(problem.row)}: {problem.what}{more}")

    def _shaped(self, number: int, raw: Row, sources: dict[str, list[str]]) -> Row | None:
        made, fine = {}, True
        for column, names in sources.items():
            value = self._value(number, raw, column, names)
            fine = fine and value is not None
            made[column] = value
        if fine and self.table.format == Format.RANKING:
            given, scored = len(made["completions"]), len(made["scores"])
            if given != scored:
                what = f"there are {given} completions and {scored} scores"
                self._tell(number, "scores", "count", what)
                fine = False
        return made if fine else None

    def _value(self, number: int, raw: Row, column: str, names: list[str]) -> Any:
        """A cell of a column of the format, or None where it is wrong."""
        template = self.table.template(column) if column != MESSAGES else None
        listed = column in ("label", "completions", "scores")
        if template is None or listed:
            name = names[0]
            wrong = LISTED[column](raw[name]) if listed else _wrong_cell(column, raw[name])
            if wrong:
                kind = "listed" if listed else wrong.split(" (")[0]
                self._tell(number, name, kind, f"{name} {wrong}")
                return None
            value = raw[name]
        else:
            value = self._rendered(number, raw, column, names, template)
        if isinstance(value, str) and column in NEVER_EMPTY and not value.strip():
            self._tell(number, column, "empty", f"the {column} is empty")
            return None
        return value

    def _rendered(
        self, number: int, raw: Row, column: str, names: list[str], template: str
    ) -> str | None:
        for name in names:
            if raw[name] is None:
                what = f"{name} has no value, and the template of {column} needs one"
                self._tell(number, name, "none", what)
                return None
            if isinstance(raw[name], (list, dict)):
                what = f"{name} is {_kind(raw[name])}, which no template can show; give text"
                self._tell(number, name, "list", what)
                return None
        try:
            return template.format_map(raw)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            what = f'the template "{template}" of {column} cannot be filled in: {error}'
            self._tell(number, column, "template", what)
            return None

    def _tell(self, row: int, column: str, kind: str, what: str) -> None:
        known = self.problems.get((column, kind))
        if known:
            known.count += 1
        else:
            self.problems[column, kind] = _Problem(row, what)


def texts(table: Table, row: Row) -> tuple[str, list[str]] | None:
    """What is asked (or, of plain text, said) in a row in the columns of its format, and the whole
    sequences that are learned from it; None for conversations, which are no text yet.
    """
    if is_conversation(table):
        return None
    columns = COLUMNS[table.format]
    if any(isinstance(row[c], list) for c in columns if c in CONVERSATIONS):
        return None
    asked = row[columns[0]]
    match table.format:
        case Format.LANGUAGE_MODELING:
            wholes = [asked]
        case Format.PREFERENCE:
            wholes = [asked + row["chosen"], asked + row["rejected"]]
        case Format.PROMPT_ONLY:
            wholes = [asked]
        case Format.RANKING:
            wholes = [asked + completion for completion in row["completions"]]
        case _:
            wholes = [asked + row["completion"]]
    return asked, wholes


def _wrong_cell(column: str, value: Any) -> str | None:
    if isinstance(value, str) and column != MESSAGES:
        return None
    if isinstance(value, list) and column in CONVERSATIONS:
        wrong = mistake_in_turns(value)
        return f"is no conversation ({wrong})" if wrong else None
    if value is None:
        return "has no value, where text is needed"
    needed = "a list of turns" if column == MESSAGES else "text"
    return f"is {_kind(value)} ({_short(value)}), where {needed} is needed"


def _label(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"is {_short(value)}, and must be true or false"


def _completions(value: Any) -> str | None:
    fine = isinstance(value, list) and value and all(isinstance(v, str) for v in value)
    return None if fine else f"is {_short(value)}, and must be a list of texts"


def _scores(value: Any) -> str | None:
    numbers = isinstance(value, list) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in value
    )
    return None if numbers and value else f"is {_short(value)}, and must be a list of numbers"


LISTED: dict[str, Callable[[Any], str | None]] = {
    "label": _label,
    "completions": _completions,
    "scores": _scores,
}


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "an object"
    return type(value).__name__


def _short(value: Any, most: int = 40) -> str:
    shown = "nothing" if value is None else repr(value)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
