"""Tasks of lm-eval, ready to be asked; imports no model."""

from __future__ import annotations

import json
import logging
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lm_eval.tasks
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Entry, Kind
from lm_eval.utils import env

from bench.data.tasks import Task
from bench.system.cache import file_for, keep
from bench.system.errors import UserError

logging.getLogger("lm_eval").setLevel(logging.ERROR)
# a template is compiled once, not once for each item
env.from_string = cache(env.from_string)  # pyright: ignore[reportAttributeAccessIssue]


HERE = Path(lm_eval.tasks.__file__).parent
FEWSHOT_SEED = 1234  # that of lm-eval's own command: every run is shown the same examples
Row = tuple[str, str, str | None, list[str]]
"""What lm-eval knows of a task, a group or a tag before it is loaded: name, kind, file and tags."""


@cache
def own_tasks() -> TaskManager:
    """Everything that comes with lm-eval. Its 14,000 files take many seconds to look through, in
    every process that asks: what was found is kept for this version.
    """
    file = file_for("lm-eval", [version("lm_eval"), str(HERE)])
    if file.is_file():
        rows: list[Row] = json.loads(file.read_text(encoding="utf-8"))
    else:
        rows = [_row(entry) for entry in TaskManager().task_index.values()]
        keep(file, json.dumps(rows))
    manager = TaskManager(include_defaults=False)
    manager.task_index.update((row[0], _entry(*row)) for row in rows)
    return manager


def _row(entry: Entry) -> Row:
    file = str(entry.yaml_path.relative_to(HERE)) if entry.yaml_path else None
    return entry.name, entry.kind.name, file, sorted(entry.tags)


def _entry(name: str, kind: str, file: str | None, tags: list[str]) -> Entry:
    return Entry(name, Kind[kind], HERE / file if file else None, tags=set(tags))


def load_tasks(task: Task, split: str) -> dict[str, Any]:
    """The lm-eval tasks that a task's evaluation stands for (a group has several), by name, to be
    scored on a split: test or validation.
    """
    config = task.evaluation
    assert config is not None
    if isinstance(config, str):
        found = own_tasks().load([config])["tasks"]
        if split == "validation":
            _score_on_validation(task.name, found)
    else:
        given = dict(config)
        if split == "validation":
            if not given.get("validation_split"):
                raise UserError(f"{task.name}: its lm-eval task names no validation_split")
            given["test_split"] = None
        found = TaskManager(include_defaults=False).load([given])["tasks"]
    for one in found.values():
        one.set_fewshot_seed(FEWSHOT_SEED)
    return found


def _score_on_validation(name: str, found: dict[str, Any]) -> None:
    """Have lm-eval's own tasks scored on their validation split. `UserError` where that is what
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


def on_hub(config: Any) -> dict[str, Any] | None:
    """Path, name and split of the data set that a task asks, where it is one of the Hub."""
    path, kwargs = config.dataset_path, config.dataset_kwargs or {}
    local = Path(str(path)).is_absolute() or "data_files" in kwargs or "data_dir" in kwargs
    if config.custom_dataset or local or str(path).count("/") != 1:
        return None
    named, divided = config.test_split or config.validation_split, kwargs.get("split")
    split = divided.get(named, named) if isinstance(divided, dict) else named
    return {"path": path, "name": config.dataset_name, "split": split}
