"""What comes with lm-eval is looked through once, not once in every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import TaskIndex

from bench.evaluation import lm_eval_tasks

NAMES = ("arc_easy", "gsm8k", "mmlu", "ai2_arc", "blimp")
"""Tasks, a group of groups, a tag, and a group."""


def known(manager: TaskManager) -> dict[str, tuple[Any, ...]]:
    index = manager.task_index
    return {name: (e.name, e.kind, e.yaml_path, e.tags) for name, e in index.items()}


@pytest.mark.slow
def test_what_is_kept_is_what_lm_eval_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lm_eval_tasks.own_tasks.cache_clear()
    first = lm_eval_tasks.own_tasks()
    found = known(TaskManager())
    assert set(NAMES) <= found.keys() and known(first) == found
    build = TaskIndex.build
    looked: list[Any] = []

    def watched(paths: Any, **more: Any) -> Any:
        looked.extend(paths)
        return build(paths, **more)

    monkeypatch.setattr(TaskIndex, "build", staticmethod(watched))
    lm_eval_tasks.own_tasks.cache_clear()
    assert known(lm_eval_tasks.own_tasks()) == found
    assert not looked, "what is kept is not looked for again"
    lm_eval_tasks.own_tasks.cache_clear()
