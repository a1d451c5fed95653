"""A model card beside every adapter that is published: what it was trained for, from what, at what
cost, and how it scored.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import PurePath
from typing import Any

from bench.records.schema import Record
from bench.report.table import escaped
from bench.report.template import filled


def card(
    record: Record, base: Record | None, model: str, hub_id: str | None, library: str | None
) -> str:
    """The text of README.md for a run's adapter, its front matter in the Hub's model-index form.

    `model` names the start model for people, and `hub_id` is set where it can be fetched by that.
    `library` loads the adapter: None where only its method does. Nothing of the machine is told.
    """
    from huggingface_hub import EvalResult, ModelCardData

    name = f"{record.recipe} on {', '.join(record.target)}"
    scores = record.scores
    data = ModelCardData(
        base_model=hub_id,
        library_name=library,
        pipeline_tag="text-generation",
        tags=[
            "bench",
            str(record.method),
            *dict.fromkeys(score.metric for score in scores.values()),
        ],
        model_name=name,
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=task,
                dataset_name=task,
                dataset_split=record.split,
                metric_type=score.metric,
                metric_name=score.metric,
                metric_value=score.value,
            )
            for task, score in scores.items()
        ],
    )
    text = filled(
        "bench.publish",
        "card.md",
        data=data,
        title=name,
        model=model,
        record=record,
        base=base,
        parameters=json.dumps(without_places(record.parameters), indent=1, ensure_ascii=False),
        escaped=partial(escaped, signs="|[`"),
    )
    return text + "\n"


def without_places(value: Any) -> Any:
    """The same value with every absolute path made its last part: where a file lay on a machine is
    nobody else's concern.
    """
    if isinstance(value, dict):
        return {key: without_places(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_places(inner) for inner in value]
    return PurePath(value).name if isinstance(value, str) and is_place(value) else value


def is_place(name: str) -> bool:
    """Whether a name is a path of this machine rather than a name that others know."""
    return PurePath(name).is_absolute() or name.startswith(("~", "./", "../"))
