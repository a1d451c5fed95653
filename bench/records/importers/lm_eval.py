"""What lm-eval's own command leaves behind (`results_*.json`, `samples_*.jsonl`) as a record:
scores without a training.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.records.importers.incoming import digest, read_json, run_id
from bench.records.schema import Fingerprints, Imported, Record, Status, complaint
from bench.records.stages import Environment, EvaluationSeconds, EvaluationStage, Parameters, Score
from bench.system.errors import UserError, nearest

SOURCE = "lm-eval"
MACHINE = ("metadata", "dataset_kwargs")
"""Parts of a task's configuration that tell where it ran: paths of the machine and of the model."""


@contextmanager
def read(
    file: Path, suite: str, recipe: str | None, seed: int, target: list[str]
) -> Iterator[tuple[Record, Path]]:
    """A record of the scores in a results file, and a file with its per-item outcomes for as long
    as the block lasts.

    `recipe` names its row, by default after the model; `seed` tells trainings of one recipe apart.
    `target` are the tasks that it was trained for; the others count as retained. Without any, all
    are targets. UserError where the file is of another kind.
    """
    content = read_json(file)
    if not isinstance(content.get("results"), dict) or "configs" not in content:
        raise UserError(f"{file} is no results file of lm-eval: it lacks results or configs")
    names = _tasks(content)
    if not names:
        raise UserError(f"{file} holds no scores: no task in it has a metric with a number")
    for name in target:
        if name not in names:
            raise UserError(
                f"{file} has no scores for --target {name}{nearest(name, names)}; it has"
                f" {', '.join(names)}"
            )
    with tempfile.TemporaryDirectory() as folder:
        items = Path(folder) / "items.parquet"
        found = {name: _samples(file, content, name) for name in names}
        _write(found, items)
        try:
            name = recipe or _model(content)
            record = _record(content, file.name, suite, name, seed, names, target, found)
        except ValidationError as error:
            raise UserError(f"{file} holds something unexpected: {complaint(error)}") from None
        yield record, items


def _tasks(content: dict[str, Any]) -> list[str]:
    """Groups that have a score of their own, and tasks that belong to none of those."""
    scored = [name for name, values in content["results"].items() if _metric(content, name, values)]
    inside = {leaf for name in scored for leaf in _leaves(content, name) if leaf != name}
    return [name for name in scored if name not in inside]


def _leaves(content: dict[str, Any], name: str) -> list[str]:
    children = content.get("group_subtasks", {}).get(name) or []
    return [leaf for child in children for leaf in _leaves(content, child)] if children else [name]


def _metric(content: dict[str, Any], name: str, values: dict[str, Any]) -> tuple[str, str] | None:
    """What is a task's score, as in our runs, and its filter: the first metric that is better when
    higher, or else the first with a direction.
    """
    directions = content.get("higher_is_better", {}).get(name, {})
    numbers = [key.split(",") for key, v in values.items() if isinstance(v, (int, float))]
    known = [
        (metric, filters[0])
        for metric, *filters in numbers
        if filters and not metric.endswith("_stderr") and directions.get(metric) is not None
    ]
    return min(known, key=lambda found: not directions[found[0]], default=None)


def _record(
    content: dict[str, Any],
    file: str,
    suite: str,
    recipe: str,
    seed: int,
    names: list[str],
    target: list[str],
    items: dict[str, dict[tuple[str, int], float]],
) -> Record:
    compared, began = _compared(content, names), _number(content.get("date"))
    hashes = content.get("task_hashes", {})
    leaves = [leaf for name in names for leaf in _leaves(content, name)]
    evaluation = _evaluation(content, {name: _score(content, name, items[name]) for name in names})
    return Record(
        id=run_id(recipe, seed, [suite, compared, recipe]),
        suite=suite,
        comparison_key=digest(compared),
        fingerprints=Fingerprints(
            model=content.get("config", {}).get("model_sha") or None,
            tasks={leaf: hashes.get(leaf) for leaf in leaves},
        ),
        recipe=recipe,
        origin=f"lm-eval {content.get('lm_eval_version')}",
        seed=seed,
        status=Status.OK,
        target=target or names,
        retain=[name for name in names if target and name not in target],
        evaluation=evaluation,
        finished_at=_time(began, evaluation.seconds.evaluate or 0.0),
        imported=Imported(
            source=SOURCE, file=file, created_at=_time(began, 0.0), compared=compared
        ),
    )


def _evaluation(content: dict[str, Any], scores: dict[str, Score]) -> EvaluationStage:
    config = content.get("config", {})
    return EvaluationStage(
        seconds=EvaluationSeconds(evaluate=_number(content.get("total_evaluation_time_seconds"))),
        scores=scores,
        generation_config=config.get("gen_kwargs") or None,
        parameters=Parameters(total=config.get("model_num_parameters")),
        environment=Environment(
            libraries={
                "lm-eval": content.get("lm_eval_version"),
                "transformers": content.get("transformers_version"),
            },
            device=config.get("device"),
            device_kind=str(config.get("device") or "").partition(":")[0] or None,
            dtype=str(config.get("model_dtype") or "").removeprefix("torch.") or None,
        ),
    )


def _compared(content: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """All that two models must share for their scores to be compared."""
    config, configs = content.get("config", {}), content["configs"]
    leaves = [leaf for name in names for leaf in _leaves(content, name)]
    by_leaf = ("versions", "n-shot", "task_hashes")
    of_prompts = ("system_instruction_sha", "chat_template_sha", "fewshot_as_multiturn")
    return {
        "tasks": {
            leaf: {k: v for k, v in configs.get(leaf, {}).items() if k not in MACHINE}
            for leaf in leaves
        },
        **{key: {leaf: content.get(key, {}).get(leaf) for leaf in leaves} for key in by_leaf},
        **{key: config.get(key) for key in ("limit", "gen_kwargs", "fewshot_seed")},
        **{key: content.get(key) for key in of_prompts},
    }


def _score(content: dict[str, Any], name: str, items: dict[tuple[str, int], float]) -> Score:
    metric, filter_name = _metric(content, name, content["results"][name]) or ("", "")
    known = content.get("n-samples", {})
    counts = [known.get(leaf, {}).get("effective") for leaf in _leaves(content, name)]
    return Score(
        value=content["results"][name][f"{metric},{filter_name}"],
        metric=metric,
        higher_is_better=content["higher_is_better"][name][metric],
        items=len(items) or (sum(counts) if all(counts) else None),
    )


def _samples(file: Path, content: dict[str, Any], name: str) -> dict[tuple[str, int], float]:
    """Outcomes by leaf task and document number, where files of samples lie beside the results."""
    metric, filter_name = _metric(content, name, content["results"][name]) or ("", "")
    when = file.stem.rpartition("_")[2]
    found = {}
    for leaf in _leaves(content, name):
        samples = file.with_name(f"samples_{leaf}_{when}.jsonl")
        if not samples.is_file():
            continue
        # lm-eval writes other ends of a line, such as U+2028, as they are
        for number, line in enumerate(samples.read_text(encoding="utf-8").split("\n"), start=1):
            if not line:
                continue
            try:
                sample = json.loads(line)
                if sample["filter"] == filter_name and isinstance(sample.get(metric), (int, float)):
                    found[leaf, int(sample["doc_id"])] = float(sample[metric])
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{samples}, line {number} is no sample of lm-eval: {error}"
                ) from None
    return found


def _write(found: dict[str, dict[tuple[str, int], float]], items: Path) -> None:
    import pandas as pd

    rows = [
        (name, leaf, number, score)
        for name, scores in found.items()
        for (leaf, number), score in scores.items()
    ]
    if rows:
        columns = ["task", "part", "doc_id", "score"]
        pd.DataFrame(rows, columns=columns).to_parquet(items, index=False)


def _model(content: dict[str, Any]) -> str:
    """The model's name; of a local folder only its last part."""
    name = str(content.get("model_name") or "model")
    return Path(name).name if Path(name).is_absolute() or name.startswith((".", "~")) else name


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _time(began: float | None, seconds: float) -> str | None:
    """The moment so many seconds after a UNIX time."""
    if began is None:
        return None
    return datetime.fromtimestamp(began + seconds, UTC).isoformat(timespec="seconds")
