"""Texts made from templates: pages, tables, cards and charts."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def filled(room: str, name: str, **given: Any) -> str:
    """A file of `templates/` in a room, such as bench.report, with what is given put in.

    In HTML nothing that is given can act as markup. A name that was not given is an error.
    """
    return _environment(room, name.endswith(".html")).get_template(name).render(given)


@cache
def _environment(room: str, autoescape: bool) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader(room),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return made
