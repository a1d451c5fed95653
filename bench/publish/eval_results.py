"""Scores as Hugging Face's `.eval_results/*.yaml`: files of a model repository that the Hub shows
on the model's page and on the leaderboard of each data set.
"""

from __future__ import annotations

import yaml

from bench.records.schema import Record

FILE = ".eval_results/bench.yaml"


def eval_results(record: Record) -> str:
    """The YAML of a run, one entry for each score of items from the Hub; empty where there is none.
    The Hub shows an entry where the data set is registered as a benchmark.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = [
        EvalResultEntry(
            dataset_id=source.path,
            task_id=source.name or "default",
            value=score.value,
            date=record.finished_at,
            notes=f"{score.metric} of {score.items or 'all'} items of the split {source.split};"
            f" {record.recipe}, seed {record.seed}, suite {record.suite}",
        )
        for score in record.scores.values()
        if (source := score.source) is not None
    ]
    if not entries:
        return ""
    return yaml.safe_dump(
        eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=100
    )
