"""Methods as small as they come, and the first embedded task that has their data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench.data.formats import Format
from bench.data.tasks import Task
from bench.methods import registry
from bench.methods.method import Method
from bench.tiny.tasks import tiny_task

from . import guide

SETTINGS = {
    "teacher": "tiny",
    "max_prompts": 8,
    "fisher_examples": 2,
    "examples": 2,
    "max_completion_length": 16,
}
"""For methods with these parameters, so that they take no longer than others."""
ROWS = 64
TASKS = ("tiny/smallest", "tiny/choose", "tiny/swap")


def kind(name: str) -> type[Method]:
    """A method by its name; `by-trainer` is one that a trainer of TRL trains."""
    return guide.method(guide.BY_TRAINER) if name == "by-trainer" else registry.usable(name)


def little(name: str, **given: Any) -> Any:
    """A method with these parameters that trains in a second or two."""
    fields = kind(name).model_fields
    small = {key: value for key, value in SETTINGS.items() if key in fields}
    return kind(name).model_validate(small | given)


def task_for(method: Method) -> str:
    """The first task that has all data that a method needs."""
    return next(t for t in TASKS if set(method.needs()) <= set(tiny_task(t).formats))


def first_rows(task: Task) -> Task:
    """The same task with less training data: some trainers tokenise all of it before they begin."""

    def first(format: Format) -> Callable[[Any], Any]:
        def load(split: Any) -> Any:
            rows = task.load(format, split)
            return rows.select(range(min(ROWS, len(rows))))

        return load

    return replace(task, loaders={format: first(format) for format in task.formats})
