"""Tasks of lm-eval, ready to be asked; imports no model."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from lm_eval.tasks import TaskManager
from lm_eval.utils import env

from bench.data.tasks import Task
from bench.system.errors import UserError

logging.getLogger("lm_eval").setLevel(logging.ERROR)
# a template is compiled once, not once for each item
env.from_string = cache(env.from_string)  # pyright: ignore[reportAttributeAccessIssue]


@cache
def _own_tasks() -> TaskManager:
    """Everything that comes with lm-eval, which takes seconds to look through."""
    return TaskManager(include_defaults=True)


def load_tasks(task: Task, split: str) -> dict[str, Any]:
    """The lm-eval tasks that a task's evaluation stands for (a group has several), by name, to be
    scored on a split: test or validation.
    """
    config = task.evaluation
    if isinstance(config, str):
        found = _own_tasks().load([config])["tasks"]
        return _on_validation(task.name, found) if split == "validation" else found
    assert config is not None
    given = dict(config)
    if split == "validation":
        if not given.get("validation_split"):
            raise UserError(f"{task.name}: its lm-eval task names no validation_split")
        given["test_split"] = None
    return TaskManager(include_defaults=False).load([given])["tasks"]


def _on_validation(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's own tasks, to be scored on their validation split. `UserError` where that is what
    they are tested on already.
    """
    for own, task in found.items():
        if not (task.has_validation_docs() and task.has_test_docs()):
            raise UserError(
                f"{name}: lm-eval's {own} has no validation split beside the split that it is"
                " tested on; name a YAML file under evaluate, in which validation_split and"
                " test_split differ"
            )
        task.config.test_split = None
    return found
