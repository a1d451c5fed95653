"""From a suite file or a dictionary to a suite, and back to YAML."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from bench.methods.entry import Place
from bench.models import gguf
from bench.suite.mistakes import beyond_schema, in_schema
from bench.suite.schema import Suite
from bench.suite.search import left_open
from bench.suite.yaml_file import Document, read
from bench.system.errors import UserError
from bench.system.yaml import DUMPER


def load(file: Path) -> Suite:
    """The suite in a file; a `UserError` with everything that is wrong with it, line by line."""
    document = read(file)
    folder = file.parent.resolve()
    suite, mistakes = _validated(document.content, folder)
    if suite is None:
        raise _with_lines(document, _tasks_file(document.content, folder), mistakes)
    return suite


def parse(content: dict[str, Any], folder: Path = Path()) -> Suite:
    """The suite in a dictionary, whose relative paths start at `folder`; a `UserError` with
    everything that is wrong with it.
    """
    suite, mistakes = _validated(content, folder.resolve())
    if suite is None:
        raise UserError("\n".join(what for _, what in mistakes))
    return suite


def only(suite: Suite, labels: Sequence[str]) -> Suite:
    """The suite with some of its methods alone. UserError where a label is none of its."""
    known = [method.label for method in suite.methods]
    for label in labels:
        if label not in known:
            raise UserError(
                f"--only {label} is no method of the suite {suite.suite}; its methods are"
                f" {', '.join(known)}"
            )
    return suite.model_copy(update={"methods": [m for m in suite.methods if m.label in labels]})


def resolved(suite: Suite) -> str:
    """The suite as YAML with nothing left to defaults; what tuning is to draw stays open. A comment
    says what a GGUF model is."""
    content = suite.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"methods"})
    for name, spec in suite.tasks.items():
        for format, source in spec.sources().items():
            if (
                "validation_split" not in source.model_fields_set
            ):  # named, it would have to be there
                del content["tasks"][name][format.value]["validation_split"]
    content["methods"] = [
        {m.name: left_open(m.recipe) if suite.tuning else m.recipe.parameters, "as": m.label}
        for m in suite.methods
    ]
    text = yaml.dump(content, Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=120)
    models = [f"# {name}: {gguf.about(name)}\n" for name in suite.model.gguf_names]
    return "".join(models) + text


def _with_lines(
    document: Document, tasks_file: Path | None, mistakes: list[tuple[Place, str]]
) -> UserError:
    """Every mistake with its line, in the suite or in its file of tasks."""
    here, there = [], []
    for place, what in mistakes:
        if tasks_file is not None and place[:1] == ("tasks",) and len(place) > 1:
            there.append((place[1:], what))
        else:
            here.append((place, what))
    told = []
    if here:
        told.append(document.error([(document.line(place), what) for place, what in here]))
    if there and tasks_file is not None:
        other = read(tasks_file, "tasks")
        told.append(other.error([(other.line(place), what) for place, what in there]))
    return UserError("\n".join(map(str, told)))


def _tasks_file(content: dict[str, Any], folder: Path) -> Path | None:
    """The file that holds the tasks of a suite, where the suite names one."""
    name = content.get("tasks")
    return folder / name if isinstance(name, str) else None


def _validated(
    content: dict[str, Any], folder: Path
) -> tuple[Suite | None, list[tuple[Place, str]]]:
    """The suite, or None and what is wrong with it."""
    tasks_file = _tasks_file(content, folder)
    if tasks_file is not None:
        if not tasks_file.is_file():
            return None, [(("tasks",), f"there is no tasks file {tasks_file}")]
        content = {**content, "tasks": read(tasks_file, "tasks").content}
    if "folder" in content:
        return None, [(("folder",), "unknown key folder: paths start where the suite file lies")]
    try:
        suite = Suite.model_validate({**content, "folder": folder})
    except ValidationError as error:
        return None, list(in_schema(error))
    if tasks_file is not None:
        suite = _with_tasks_of(suite, tasks_file)
    mistakes = list(beyond_schema(suite))
    return (None if mistakes else suite), mistakes


def _with_tasks_of(suite: Suite, tasks_file: Path) -> Suite:
    """The suite as if it held the tasks that it names itself: the others are left out, and paths
    start at the suite. An unknown target keeps all of them, for the hint at the right name.
    """
    place = os.path.relpath(tasks_file.parent, suite.folder)
    named = {*suite.scored, suite.drift}
    if any(name not in suite.tasks and "/" not in name for name in suite.target):
        named.update(suite.tasks)
    tasks = {
        n: spec.seen_from(place, tasks_file.parent) for n, spec in suite.tasks.items() if n in named
    }
    return suite.model_copy(update={"tasks": tasks})
