"""Whether every row gives what its format needs, and the texts that come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.data.chat import (
    NEEDS_CHAT,
    ChatSpec,
    Content,
    Conversation,
    in_turns,
    listed,
    misplaced,
    mistake,
    opened,
    talking,
)
from bench.data.formats import COLUMNS, Format
from bench.data.held_out import each_row
from bench.data.sources import BadCell, Row
from bench.suite.checks.report import Mistake, of_rows
from bench.suite.checks.tables import Table
from bench.system.errors import UserError

NEVER_EMPTY = ("completion", "chosen")  # a file of plain text may have blank lines


@dataclass
class Looker:
    """Goes through the rows of a table once."""

    table: Table
    chat: ChatSpec | None
    mistakes: list[Mistake] = field(default_factory=list)
    """What is wrong with the rows, each kind with its first row; whole when all were seen."""

    def good(self) -> Iterator[tuple[int, Row, Row]]:
        """Number, raw row, and row as methods get it, of every row that is well."""
        wrong: dict[str, list[tuple[int, str]]] = {}
        for number, raw in enumerate(each_row(self.table.rows)):
            try:
                yield number, raw, self._good(raw)
            except BadCell as error:
                if error.everywhere:
                    what = f"{self.table.name}: {self.table.where}: {error}"
                    self.mistakes.append(Mistake(what, self.table.key(error.column)))
                    return
                wrong.setdefault(str(error).partition(" (")[0], []).append((number, str(error)))
        self.mistakes += of_rows(wrong, self.table.place)

    def _good(self, raw: Row) -> Row:
        """The row as methods get it; `BadCell` where something is wrong with it."""
        table = self.table
        columns, reward = COLUMNS[table.format], table.reward
        if table.named(columns[0], raw) == "messages":
            _refuse("messages", _text("text", raw["messages"], "a list of turns"))
        row = table.shaped(raw)
        answered = reward is None or reward.needs_answer
        for column in columns:
            if column != "answer" or answered:
                _refuse(table.named(column, raw), CELLS.get(column, _text)(column, row[column]))
        if table.format == Format.RANKING:
            given, scored = len(row["completions"]), len(row["scores"])
            differ = given != scored
            _refuse("scores", f"are {scored} and completions {given}" if differ else None)
        if reward is not None and (what := reward.unearnable(row)):
            raise BadCell("answer", what)
        if self.chat is not None:
            _refuse_tools(row.get("tools"))
            return in_turns(row, self.chat)
        if column := talking(row, table.format):
            named = table.named(column, raw)
            raise BadCell(column, f"{named} {NEEDS_CHAT}", everywhere=True)
        return row


def texts(format: Format, row: Row) -> tuple[str, list[Content]]:
    """What is asked (or, of plain text, said) in a row, and the whole sequences that are learned
    from it.
    """
    cells = {name: cells[0] for name, cells in opened({k: [v] for k, v in row.items()}).items()}
    first: Content = cells[COLUMNS[format][0]]
    match format:
        case Format.LANGUAGE_MODELING | Format.PROMPT_ONLY:
            return _asked(first), [first]
        case Format.PREFERENCE:
            said = [cells["chosen"], cells["rejected"]]
        case Format.RANKING:
            said = cells["completions"]
        case _:
            said = [cells["completion"]]
    return _asked(first), [first + one for one in said]


def _asked(content: Content) -> str:
    """What the user says."""
    if not isinstance(content, Conversation):
        return content
    said = [turn.get("content") for turn in content.turns if turn["role"] == "user"]
    return "\n".join(text for text in said if isinstance(text, str))


def _refuse(name: str, what: str | None) -> None:
    if what is not None:
        raise BadCell(name, f"{name} {what}")


def _refuse_tools(cell: Any) -> None:
    try:
        listed(cell)
    except UserError as error:
        raise BadCell("tools", str(error)) from None


def _text(column: str, value: Any, needed: str = "text") -> str | None:
    if value is None:
        return f"has no value, where {needed} is needed"
    if isinstance(value, list) and column != "answer":
        if value and (wrong := mistake(value)):
            return f"is no conversation ({wrong})"
        wrong = misplaced(column, value)
        return f"cannot be used as {column}: {wrong}" if wrong else None
    if not isinstance(value, str) or needed != "text":
        return f"is {_kind(value)} ({value!r:.40}), where {needed} is needed"
    return "is empty" if column in NEVER_EMPTY and not value.strip() else None


def _label(_: str, value: Any) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false (it is {value!r:.40})"


def _completions(column: str, value: Any) -> str | None:
    if not isinstance(value, list) or not value:
        return f"must be a list of completions (it is {value!r:.40})"
    return next((wrong for one in value if (wrong := _text(column, one))), None)


def _scores(_: str, value: Any) -> str | None:
    numbers = isinstance(value, list) and all(_kind(v) == "a number" for v in value)
    return None if numbers and value else f"must be a list of numbers (it is {value!r:.40})"


CELLS = {"label": _label, "completions": _completions, "scores": _scores}


KINDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a map"}


def _kind(value: Any) -> str:
    return KINDS.get(type(value), type(value).__name__)
