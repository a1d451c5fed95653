"""Results in the forms of others: `.eval_results` of the Hub, and Every Eval Ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.publish.card import card
from bench.publish.every_eval_ever import evaluation
from bench.publish.gather import suites_in
from bench.records.schema import Imported, Purpose, Record
from bench.records.store import Store

from ..conftest import ROOT, Bench

SENTIMENT = ROOT / "results/smollm2/sentiment"


def _object(required: str, *, closed: bool = False, **properties: Any) -> dict[str, Any]:
    made = {"type": "object", "required": required.split(), "properties": properties}
    return made | ({"additionalProperties": False} if closed else {})


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
SOURCE = {
    "oneOf": [
        _object("dataset_name source_type", dataset_name=TEXT, source_type={"const": "other"}),
        _object(
            "dataset_name source_type",
            dataset_name=TEXT,
            source_type={"const": "hf_dataset"},
            hf_repo=TEXT,
            hf_split=TEXT,
        ),
    ]
}
SCHEMA = _object(
    "schema_version evaluation_id retrieved_timestamp source_metadata model_info eval_library"
    " evaluation_results",
    closed=True,
    schema_version={"const": "0.2.1"},
    evaluation_id=TEXT,
    evaluation_timestamp=TEXT,
    retrieved_timestamp={"type": "string", "pattern": "^([0-9]+|unknown)$"},
    source_metadata=_object(
        "source_type source_organization_name evaluator_relationship",
        source_name=TEXT,
        source_type={"enum": ["documentation", "evaluation_run"]},
        source_organization_name=TEXT,
        evaluator_relationship={"enum": ["first_party", "third_party", "collaborative", "other"]},
    ),
    eval_library=_object("name version", name=TEXT, version=TEXT, additional_details=TEXTS),
    model_info=_object("name id", name=TEXT, id=TEXT, additional_details=TEXTS),
    evaluation_results={
        "type": "array",
        "items": _object(
            "evaluation_name source_data metric_config score_details",
            evaluation_name=TEXT,
            source_data=SOURCE,
            metric_config=_object(
                "lower_is_better score_type min_score max_score",
                lower_is_better={"type": "boolean"},
                score_type={"const": "continuous"},
                min_score=NUMBER,
                max_score=NUMBER,
                evaluation_description=TEXT,
            ),
            score_details=_object(
                "score",
                score=NUMBER,
                details=TEXTS,
                uncertainty=_object("", num_samples={"type": "integer"}),
            ),
            generation_config=_object(
                "", generation_args={"type": "object"}, additional_details=TEXTS
            ),
        ),
    },
)
"""What Every Eval Ever 0.2.1 asks for, as far as bench writes it: required fields, types and
enumerations.
"""


def _valid(made: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(made, SCHEMA)


@pytest.mark.parametrize("suite", ["quickstart", "smollm2/sentiment"])
def test_a_site_has_each_row_in_the_schema_of_every_eval_ever(
    suite: str, tmp_path: Path, bench: Bench
) -> None:
    shutil.copytree(ROOT / "results" / suite, tmp_path / "results" / Path(suite).name)
    done = bench("publish", "results", "--to", "site")
    assert done.returncode == 0, done.stderr
    (folder,) = suites_in(tmp_path / "site")
    made = {file.stem: json.loads(file.read_text()) for file in folder.glob("every_eval_ever/*")}
    planned = Store(ROOT / "results" / suite).planned()
    records = [r for r in planned if r.ok and r.purpose is Purpose.ROW]
    assert set(made) == {record.id for record in records}
    for record in records:
        _valid(made[record.id])
        told = {r["evaluation_name"]: r for r in made[record.id]["evaluation_results"]}
        assert {name: r["score_details"]["score"] for name, r in told.items()} == {
            name: score.value for name, score in record.scores.items()
        }
    assert len({one["evaluation_id"] for one in made.values()}) == len(made)


def test_imported_rows_and_unbounded_metrics_are_told_apart() -> None:
    record = Store(SENTIMENT).planned()[1]
    assert record.evaluation
    borrowed = record.model_copy(
        update={"imported": Imported(source="Doe", file="x.json"), "finished_at": None}
    )
    made = evaluation(borrowed, {})
    _valid(made)
    assert made["source_metadata"]["evaluator_relationship"] == "other"
    assert made["model_info"]["name"] == f"{record.recipe} on unknown"
    scores = {name: s.model_copy(update={"value": 31.5}) for name, s in record.scores.items()}
    perplexing = record.model_copy(
        update={"evaluation": record.evaluation.model_copy(update={"scores": scores})}
    )
    assert evaluation(perplexing, {}) == {}
    small = {
        name: s.model_copy(update={"value": 0.83, "higher_is_better": False})
        for name, s in record.scores.items()
    }
    bits = record.model_copy(
        update={"evaluation": record.evaluation.model_copy(update={"scores": small})}
    )
    assert evaluation(bits, {}) == {}, "bits per byte have no upper bound, however small they are"


def test_what_scored_a_row_is_named_only_where_its_record_says_so() -> None:
    record = Store(SENTIMENT).planned()[1]
    assert record.evaluation
    assert evaluation(record, {})["eval_library"]["name"] == "lm_eval"
    environment = record.evaluation.environment.model_copy(update={"libraries": {}})
    by_others = record.evaluation.model_copy(update={"environment": environment})
    made = evaluation(record.model_copy(update={"evaluation": by_others}), {})
    _valid(made)
    assert made["eval_library"] == {"name": "unknown", "version": "unknown"}


def test_a_card_says_what_each_task_was_for_and_names_no_library_that_cannot_load_it() -> None:
    (record,) = [
        r
        for r in Store(ROOT / "results/smollm2/instruct").planned()
        if r.tuned_from == "instruction+lora" and r.seed == 0
    ]
    for library in ("peft", None):
        text = card(record, None, "SmolLM2", None, library)
        assert ("library_name: peft" in text) == (library == "peft")
        for task in record.scores:
            role = "target" if task in record.target else "measured too"
            assert f"| {task} | {'retained' if task in record.retain else role} |" in text


def _kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_hub: bool) -> Record:
    """Published results with an adapter in the cache, scored on items of the Hub or of files."""
    results = tmp_path / "results/sentiment"
    shutil.copytree(SENTIMENT, results)
    store = Store(results)
    record = next(r for r in store.planned() if r.tuned_from == "lora")
    if on_hub:
        body = record.model_dump(mode="json")
        source = {"path": "nyu-mll/glue", "name": "sst2", "split": "validation"}
        body["evaluation"]["scores"]["sst2"]["source"] = source
        store.put(Record.model_validate(body), store.items_file(record.id))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    adapter = tmp_path / "cache/bench/sentiment" / record.id / "artifact"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    return record


def test_an_adapter_brings_its_scores_on_data_of_the_hub(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import parse_eval_result_entries

    record = _kept(tmp_path, monkeypatch, on_hub=True)
    assert bench("publish", "results", "--to", "site", "--adapters").returncode == 0
    file = tmp_path / f"site/sentiment/adapters/{record.id}/.eval_results/bench.yaml"
    (entry,) = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert (entry.dataset_id, entry.task_id) == ("nyu-mll/glue", "sst2")
    assert (entry.value, entry.date) == (record.scores["sst2"].value, record.finished_at)
    said = f"acc of 200 items of the split validation; {record.recipe}, seed {record.seed}"
    assert entry.notes and entry.notes.startswith(said)


def test_scores_on_files_of_ones_own_are_no_entries(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = _kept(tmp_path, monkeypatch, on_hub=False)
    assert bench("publish", "results", "--to", "site", "--adapters").returncode == 0
    folder = tmp_path / f"site/sentiment/adapters/{record.id}"
    assert (folder / "README.md").is_file() and not (folder / ".eval_results").exists()
