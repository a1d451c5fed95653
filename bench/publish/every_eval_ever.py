"""Scores in the schema of Every Eval Ever, version 0.2.1 (https://evalevalai.com): one JSON file
per run, which that database takes.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.publish.adapters import named_start
from bench.publish.card import without_places
from bench.publish.gather import Published
from bench.records.schema import BASE, Purpose, Record
from bench.records.stages import Score
from bench.report.html import facts
from bench.system.entry_points import PACKAGE
from bench.system.files import write_atomically

VERSION = "0.2.1"
FOLDER = "every_eval_ever"
UNKNOWN = "unknown"


def write(suite: Published, folder: Path) -> list[Path]:
    """A file for every row of a suite with scores that are shares: the schema wants bounds, and
    other metrics have none.
    """
    given = facts.suite(suite.analysis)
    written = []
    for record in suite.records:
        if record.ok and record.purpose is Purpose.ROW and (made := evaluation(record, given)):
            file = folder / FOLDER / f"{record.id}.json"
            write_atomically(file, json.dumps(made, indent=1, ensure_ascii=False) + "\n")
            written.append(file)
    return written


def evaluation(record: Record, suite: dict[str, Any]) -> dict[str, Any]:
    """One run as the schema has it; empty where no score of it is a share."""
    results = [
        _result(record, task, score) for task, score in record.scores.items() if score.is_share
    ]
    if not results:
        return {}
    finished = record.finished_at or (record.imported and record.imported.created_at)
    seconds = _seconds(finished)
    model = _model(record, suite)
    return {
        "schema_version": VERSION,
        "evaluation_id": f"{record.suite}/{model['id']}/{seconds}",
        **({"evaluation_timestamp": finished} if finished else {}),
        "retrieved_timestamp": seconds,
        "source_metadata": {
            "source_name": record.imported.source if record.imported else PACKAGE,
            "source_type": "documentation" if record.imported else "evaluation_run",
            "source_organization_name": UNKNOWN,
            "evaluator_relationship": "other" if record.imported else "first_party",
        },
        "eval_library": _library(record),
        "model_info": model,
        "evaluation_results": results,
    }


def _seconds(finished: str | None) -> str:
    """Seconds since 1970, of the end of the run; not of now, so that equal records give equal
    files.
    """
    return str(int(datetime.fromisoformat(finished).timestamp())) if finished else UNKNOWN


def _library(record: Record) -> dict[str, str]:
    """What scored the run, as far as its record says."""
    libraries = record.evaluation.environment.libraries if record.evaluation else {}
    version = libraries.get("lm-eval")
    return {"name": "lm_eval" if version else UNKNOWN, "version": version or UNKNOWN}


def _model(record: Record, suite: dict[str, Any]) -> dict[str, Any]:
    given = suite.get("model")
    start, hub_id = named_start(given) if isinstance(given, dict) else (UNKNOWN, None)
    if record.recipe == BASE:
        return {"name": start, "id": hub_id or start}
    told = {
        "start_model": start,
        "method": record.method,
        "hyper_parameters": json.dumps(without_places(record.parameters), ensure_ascii=False),
        "seed": record.seed,
        "budget": record.budget and f"{record.budget.amount:,.10g} {record.budget.currency}",
        "record": record.id,
    }
    return {
        "name": f"{record.recipe} on {start}",
        "id": f"{hub_id or start}:{record.id}",
        "additional_details": {k: str(v) for k, v in told.items() if v is not None},
    }


def _result(record: Record, task: str, score: Score) -> dict[str, Any]:
    role = "target" if task in record.target else "retained"
    role = role if task in {*record.target, *record.retain} else "measured too"
    decoding = record.evaluation and record.evaluation.generation_config
    details = {k: str(v) for k, v in without_places(decoding or {}).items() if v is not None}
    return {
        "evaluation_name": task,
        "source_data": _source(task, score),
        "metric_config": {
            "evaluation_description": f"{score.metric} on {task} ({role}), {record.split} split",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": {
            "score": score.value,
            **({"uncertainty": {"num_samples": score.items}} if score.items else {}),
        },
        **({"generation_config": {"additional_details": details}} if details else {}),
    }


def _source(task: str, score: Score) -> dict[str, Any]:
    if score.source is None:
        return {"dataset_name": task, "source_type": "other"}
    return {
        "dataset_name": task,
        "source_type": "hf_dataset",
        "hf_repo": score.source.path,
        "hf_split": score.source.split,
    }
