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
        if split == "validation":
            raise UserError(
                f"{task.name}: lm-eval's own tasks are scored on their test split; declare the task"
                " to use another"
            )
        return _own_tasks().load([config])["tasks"]
    assert config is not None
    given = dict(config)
    if split == "validation":
        if not given.get("validation_split"):
            raise UserError(f"{task.name}: its lm-eval task names no validation_split")
        given["test_split"] = None
    return TaskManager(include_defaults=False).load([given])["tasks"]
