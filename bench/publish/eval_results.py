"""Scores as Hugging Face's `.eval_results/*.yaml`: files of a model repository that the Hub shows
on the model's page and on the leaderboard of each data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from bench.publish.card import is_place
from bench.records.schema import Record

FILE = ".eval_results/bench.yaml"


@dataclass(frozen=True)
class HubDataset:
    """A data set on the Hub, as a suite names it for one of its tasks."""

    id: str
    config: str | None
    revision: str | None


def hub_dataset(suite: dict[str, Any], task: str) -> HubDataset | None:
    """The data set that a resolved suite trains on for a task, which is also what the task asks of;
    None where it lies elsewhere, or where the suite does not say. A path of two parts without
    files of its own is taken for a name on the Hub.
    """
    formats = (suite.get("tasks") or {}).get(task) or {}
    for format, source in formats.items():
        # plain text for more pre-training is often from somewhere else
        if not isinstance(source, dict) or format == "language-modeling":
            continue
        path = source.get("path")
        if isinstance(path, str) and path.count("/") == 1 and not is_place(path):
            return HubDataset(path, source.get("name"), source.get("revision"))
    return None


def eval_results(record: Record, suite: dict[str, Any]) -> str:
    """The YAML of a run, one entry for each score whose data set is on the Hub; empty where none
    is. The Hub shows an entry where the data set is registered as a benchmark.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = [
        EvalResultEntry(
            dataset_id=found.id,
            task_id=found.config or "default",
            value=score.value,
            dataset_revision=found.revision,
            date=record.finished_at,
            notes=f"{score.metric} of {score.items or 'all'} items, {record.split} split;"
            f" {record.recipe}, seed {record.seed}, suite {record.suite}",
        )
        for task, score in record.scores.items()
        if (found := hub_dataset(suite, task)) is not None
    ]
    if not entries:
        return ""
    return yaml.safe_dump(
        eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=100
    )
