"""Templates and expressions over the columns of a row: Python's single braces, or Jinja, as in
lm-eval's task files.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from datetime import date, time
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.system.errors import UserError, nearest

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

UNDEFINED = re.compile(r"'(\w+)' is undefined")  # what Jinja says


def filled(template: str, row: Mapping[str, Any]) -> Any:
    """The text that a template makes of a row. A column alone, "{chosen}", that holds a list, such
    as one of turns, stays a list. A `UserError` says what is missing or wrong.
    """
    if isinstance(alone := row.get(template[1:-1]), list) and template == f"{{{template[1:-1]}}}":
        return alone
    if "{{" in template or "{%" in template:
        return _told(template, row, lambda: _environment().from_string(template).render(row))
    try:
        return _Cells().vformat(template, (), row)
    except KeyError as missing:
        raise NoColumn(missing.args[0], row) from None
    except (IndexError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"the template {template!r} does not fit the data: {error}. Double braces hold Jinja,"
            " such as {{choices[answer]}}"
        ) from None


class _Cells(string.Formatter):
    """Shows text and numbers, and nothing that would look odd in a text."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        value, used = super().get_field(field_name, args, kwargs)
        if isinstance(value, list | dict):
            kind = "a list" if isinstance(value, list) else "an object"
            raise UserError(f"{field_name} is {kind}, and a template shows text and numbers")
        return _shown(value, field_name), used


def _shown(value: Any, name: str = "the expression") -> Any:
    if value is None:
        raise UserError(f"{name} has no value, and the template shows one")
    if isinstance(value, date | time):  # what the file holds is not known any more
        raise UserError(
            f"{name} was read as {type(value).__name__}, not as text: write it as Jinja, such as"
            " {{ day.strftime('%Y-%m-%d') }}"
        )
    return value


def evaluated(expression: str, row: Mapping[str, Any]) -> Any:
    """The value of a column, or of a Jinja expression over the columns. A `UserError` says what is
    missing or wrong.
    """
    if expression in row:
        return row[expression]
    return _told(expression, row, lambda: _defined(_compiled(expression)(row)))


class NoColumn(UserError):
    """The data has no column of a name, in any row."""

    def __init__(self, name: str, row: Mapping[str, Any], more: str = "") -> None:
        has = f"it has {', '.join(row)}{nearest(name, row)}"
        super().__init__(f"the data has no column {name!r}; {has}{more}")


def _told(source: str, row: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
    from jinja2 import TemplateSyntaxError, UndefinedError

    try:
        return compute()
    except TemplateSyntaxError as error:
        raise UserError(f"{source!r} is not Jinja: {error.message}") from None
    except UserError as error:
        raise UserError(f"{source!r}: {error}") from None
    except UndefinedError as error:
        missing = undefined(error)
        if missing is not None and missing not in row:
            raise NoColumn(missing, row) from None
        raise UserError(f"{source!r}: {error.message}; the data has {', '.join(row)}") from None
    except Exception as error:  # whatever the user's expression does with the user's data
        raise UserError(f"{source!r} does not fit the data: {error}") from None


def undefined(error: Exception) -> str | None:
    """The name that Jinja did not find."""
    found = UNDEFINED.search(str(error))
    return found and found[1]


def _defined(value: Any) -> Any:
    """A missing name is an error when it is looked at, not when it is returned."""
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        str(value)
    return value


@cache
def _compiled(expression: str) -> Any:
    return _environment().compile_expression(expression, undefined_to_none=False)


@cache
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, finalize=_shown
    )
