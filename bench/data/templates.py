"""Templates and expressions over the columns of a row: Python's single braces, or Jinja, as in
lm-eval's task files.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.errors import UserError

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment


def filled(template: str, row: Mapping[str, Any]) -> Any:
    """The text that a template makes of a row. A column alone, "{chosen}", that holds a list, such
    as one of turns, stays a list. A `UserError` says what is missing or wrong.
    """
    if isinstance(alone := row.get(template[1:-1]), list) and template == f"{{{template[1:-1]}}}":
        return alone
    if "{{" in template or "{%" in template:
        return _told(template, row, lambda: _environment().from_string(template).render(row))
    try:
        return string.Formatter().vformat(template, (), row)
    except KeyError as missing:
        raise no_column(missing.args[0], row) from None
    except (IndexError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"the template {template!r} does not fit the data: {error}. Double braces hold Jinja,"
            " such as {{choices[answer]}}"
        ) from None


def evaluated(expression: str, row: Mapping[str, Any]) -> Any:
    """The value of a column, or of a Jinja expression over the columns. A `UserError` says what is
    missing or wrong.
    """
    if expression in row:
        return row[expression]
    return _told(expression, row, lambda: _defined(_compiled(expression)(row)))


def no_column(name: str, row: Mapping[str, Any]) -> UserError:
    return UserError(f"the data has no column {name!r}; it has {', '.join(row)}")


def _told(source: str, row: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
    from jinja2 import TemplateSyntaxError, UndefinedError

    try:
        return compute()
    except TemplateSyntaxError as error:
        raise UserError(f"{source!r} is not Jinja: {error.message}") from None
    except UndefinedError as error:
        raise UserError(f"{source!r}: {error.message}; the data has {', '.join(row)}") from None
    except Exception as error:  # whatever the user's expression does with the user's data
        raise UserError(f"{source!r} does not fit the data: {error}") from None


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

    return SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
