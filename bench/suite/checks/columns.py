"""Whether a table has the columns that its format and its templates need."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from bench.data.formats import COLUMNS, Format
from bench.errors import nearest
from bench.suite.checks.report import Mistake
from bench.suite.checks.tables import Table

LISTED = ("completions", "scores", "label")  # never templates, but names of columns
MESSAGES = "messages"
FROM_MESSAGES = (Format.LANGUAGE_MODELING, Format.PROMPT_COMPLETION, Format.INSTRUCTION)


def is_conversation(table: Table) -> bool:
    """Whether a column of messages stands in for the columns of the format."""
    own = COLUMNS[table.format]
    return (
        table.format in FROM_MESSAGES
        and MESSAGES in table.rows.column_names
        and not any(table.template(c) or c in table.rows.column_names for c in own)
    )


def sources_of(table: Table) -> dict[str, list[str]]:
    """The columns of the data from which each column of the format is made."""
    if is_conversation(table):
        return {MESSAGES: [MESSAGES]}
    return {column: _columns(table, column) for column in COLUMNS[table.format]}


def fields(template: str) -> list[str]:
    """The columns that a template names; ValueError where it is none."""
    named = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    return [re.split(r"[.\[]", name)[0] for name in named]


def column_mistakes(table: Table) -> Iterator[Mistake]:
    """Columns that are missing, and templates that cannot be filled in."""
    has = table.rows.column_names
    if is_conversation(table):
        return
    for column in COLUMNS[table.format]:
        template = table.template(column)
        if template is None and column not in has:
            yield Mistake(_missing(table, column), ("tasks", table.task, table.format.value))
        elif template is not None:
            yield from _template_mistakes(table, column, template)


def _columns(table: Table, column: str) -> list[str]:
    template = table.template(column)
    if template is None or column in LISTED:
        return [template or column]
    return fields(template)


def _missing(table: Table, column: str) -> str:
    has = table.rows.column_names
    use = f'{column}: "{{{has[0]}}}"' if has and column not in LISTED else f"{column}: COLUMN"
    return (
        f"{table.name}: {table.where} has no column {column}; it has {', '.join(has)}"
        f"{nearest(column, has)} (say which one to use: {use})"
    )


def _template_mistakes(table: Table, column: str, template: str) -> Iterator[Mistake]:
    has = table.rows.column_names
    key = table.key(column)
    if column in LISTED:
        names = [template]
    else:
        try:
            names = fields(template)
        except ValueError as error:
            what = f"{table.name}: {column} is no template: {error} (write {{{{ for a brace)"
            yield Mistake(what, key)
            return
    for name in dict.fromkeys(names):
        if name == "" or name.isdigit():
            what = f"{table.name}: {{{name}}} in {column} names no column; write {{{has[0]}}}"
            yield Mistake(what, key)
        elif name not in has:
            what = (
                f"{table.name}: {column} names the column {name}, which {table.where} does not"
                f" have; it has {', '.join(has)}{nearest(name, has)}"
            )
            yield Mistake(what, key)
