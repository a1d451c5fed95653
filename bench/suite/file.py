"""From a suite file or a dictionary to a suite, and back to YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from bench.errors import UserError
from bench.methods.entry import Place
from bench.models import gguf
from bench.suite.mistakes import beyond_schema, in_schema
from bench.suite.schema import Suite
from bench.suite.search import left_open
from bench.suite.yaml_file import read


def load(file: Path) -> Suite:
    """The suite in a file; a `UserError` with everything that is wrong with it, line by line."""
    document = read(file)
    suite, mistakes = _validated(document.content, file.parent.resolve())
    if suite is None:
        raise document.error([(document.line(place), what) for place, what in mistakes])
    return suite


def parse(content: dict[str, Any], folder: Path = Path()) -> Suite:
    """The suite in a dictionary, whose relative paths start at `folder`; a `UserError` with
    everything that is wrong with it.
    """
    suite, mistakes = _validated(content, folder.resolve())
    if suite is None:
        raise UserError("\n".join(what for _, what in mistakes))
    return suite


def resolved(suite: Suite) -> str:
    """The suite as YAML with nothing left to defaults; what tuning is to draw stays open. A comment
    says what a GGUF model is."""
    content = suite.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"methods"})
    content["methods"] = [
        {m.name: left_open(m.recipe) if suite.tuning else m.recipe.parameters, "as": m.label}
        for m in suite.methods
    ]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    models = [f"# {name}: {gguf.about(name)}\n" for name in suite.model.gguf_names]
    return "".join(models) + text


def _validated(
    content: dict[str, Any], folder: Path
) -> tuple[Suite | None, list[tuple[Place, str]]]:
    """The suite, or None and what is wrong with it."""
    if "folder" in content:
        return None, [(("folder",), "unknown key folder: paths start where the suite file lies")]
    try:
        suite = Suite.model_validate({**content, "folder": folder})
    except ValidationError as error:
        return None, list(in_schema(error))
    mistakes = list(beyond_schema(suite))
    return (None if mistakes else suite), mistakes
