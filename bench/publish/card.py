"""A model card beside every adapter that is published: what it was trained for, from what, at what
cost, and how it scored.
"""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from bench.records.schema import Record


def card(record: Record, base: Record | None, model: str, hub_id: str | None) -> str:
    """The text of README.md for a run's adapter, its front matter in the Hub's model-index form.

    `model` names the start model for people, and `hub_id` is set where it can be fetched by that.
    Nothing of the machine is told.
    """
    from huggingface_hub import EvalResult, ModelCardData

    name = f"{record.recipe} on {', '.join(record.target)}"
    scores = record.scores
    data = ModelCardData(
        base_model=hub_id,
        library_name="peft",
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
    return f"---\n{data.to_yaml().strip()}\n---\n\n{_text(record, base, model, name)}"


def _text(record: Record, base: Record | None, model: str, name: str) -> str:
    facts = {
        "start model": model,
        "method": f"{record.method} ({record.origin})",
        "suite": record.suite,
        **_training(record),
        "seed": str(record.seed),
        "record": f"{record.id}.json",
    }
    lines = [
        f"# {_plain(name)}",
        "",
        "One run of a comparison of fine-tuning methods on equal budgets.",
        "",
    ]
    lines += [f"- {key}: {_plain(text)}" for key, text in facts.items()]
    lines += [
        "",
        "## Scores",
        "",
        f"On the {record.split} split, of this adapter and of the start model.",
        "",
    ]
    lines += [
        "| task | | metric | start | adapter | items |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for task, score in record.scores.items():
        before = base.scores.get(task) if base else None
        start = f"{before.value:.4f}" if before else "not measured"
        role = "target" if task in record.target else "retained"
        lines.append(
            f"| {_plain(task)} | {role} | {score.metric} | {start} | {score.value:.4f} |"
            f" {score.items} |"
        )
    parameters = json.dumps(without_places(record.parameters), indent=1, ensure_ascii=False)
    lines += ["", "## Hyper-parameters", "", *(f"    {line}" for line in parameters.splitlines())]
    return "\n".join(lines) + "\n"


def _training(record: Record) -> dict[str, str]:
    """What the training was given and what it took."""
    budget, batch, train = record.budget, record.batch, record.train
    assert budget and batch and train
    unit = "FLOPs" if budget.currency == "flops" else budget.currency
    spent = getattr(train.ledger.spent, budget.currency)
    return {
        "budget": f"{budget.amount:,.10g} {unit}"
        + (f", of which {spent:,.10g} were spent" if spent is not None else ""),
        "batch": f"{batch.size} sequences of at most {batch.max_length} tokens",
        "trainable parameters": f"{train.parameters.trainable:,}",
        "training": (
            f"{train.seconds.train:,.1f} s on {train.environment.device}, {train.environment.dtype}"
        ),
        "libraries": ", ".join(
            f"{library} {version}" for library, version in train.environment.libraries.items()
        ),
    }


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


def _plain(text: str) -> str:
    """Names come from suites and plugins: none of them may act as markup."""
    one_line = " ".join(text.split()).replace("\\", "\\\\")
    return (
        one_line.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace("|", "\\|")
        .replace("[", "\\[")
        .replace("`", "\\`")
    )
