"""Results from elsewhere: numbers as they were published, scores of lm-eval alone, and folders of
several machines put together.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.records.merge import merge
from bench.records.schema import Record, Status
from bench.records.stages import (
    Environment,
    EvaluationSeconds,
    EvaluationStage,
    Parameters,
    Score,
)
from bench.records.store import Store
from bench.tiny.tasks import items

from ..conftest import ROOT, Bench

PUBLISHED: dict[str, Any] = {
    "run_info": {
        "created_at": "2026-07-14T13:26:19+00:00",
        "total_time": 1153.3,
        "experiment_name": "lora/llama-3.2-3B-rank32",
        "train_config": {
            "model_id": "meta-llama/Llama-3.2-3B",
            "dtype": "bfloat16",
            "max_seq_length": 768,
            "batch_size": 4,
            "max_steps": 5000,
            "seed": 0,
            "optimizer_type": "AdamW",
            "optimizer_kwargs": {"lr": 0.0001, "weight_decay": 0.1},
            "autocast_adapter_dtype": True,
            "generation_kwargs": {"max_length": 800},
        },
        "peft_config": {
            "peft_type": "LORA",
            "r": 32,
            "target_modules": ["v_proj", "q_proj"],
            "revision": None,
        },
        "error_msg": "",
    },
    "train_info": {
        "accelerator_memory_max": 22292725760,
        "train_time": 941.9589897260084,
        "file_size": 36715216,
        "num_trainable_params": 9175040,
        "num_total_params": 3221924864,
        "status": "success",
        "metrics": [
            {"step": 250, "valid accuracy": 0.34, "train time": 29.25, "tokens / sec": 7174.1},
            {
                "step": 5000,
                "test accuracy": 0.4783927217589083,
                "train loss": 0.6068399169445038,
                "train samples": 20000,
                "train total tokens": 4198051,
                "forgetting": 0.04995572566986084,
            },
        ],
    },
    "meta_info": {
        "model_info": {"sha": "13afe5124825"},
        "dataset_info": {"metamath": {"sha": "aa4f34d3d2d3"}, "gsm8k": {"sha": "740312add88f"}},
        "package_info": {
            "peft-version": "0.19.2",
            "peft-commit-hash": "d787f51bbaa1",
            "torch-version": "2.13.0",
            "torch-commit-hash": None,
        },
        "system_info": {"accelerator": "NVIDIA L40S"},
    },
}


def _published(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    """A result file as PEFT's comparison writes it, with parts changed by their path."""
    content = json.loads(json.dumps(PUBLISHED))
    for path, value in changes.items():
        *inner, last = path.split("__")
        place = content
        for key in inner:
            place = place[key]
        place[last] = value
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content))
    return content


def _records(folder: Path) -> dict[str, Record]:
    return {record.recipe: record for record in Store(folder).planned()}


def _table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "report/table.csv").open() as stream:
        return {row["recipe"]: row for row in csv.DictReader(stream)}


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    accuracy=st.floats(0, 1),
    forgetting=st.floats(-5, 5),
    seconds=st.floats(1, 1e6),
    counts=st.tuples(*[st.integers(0, 2**50)] * 3),
)
def test_published_numbers_come_through_bit_for_bit(
    tmp_path: Path,
    bench: Bench,
    accuracy: float,
    forgetting: float,
    seconds: float,
    counts: tuple[int, int, int],
) -> None:
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
    memory, size, trainable = counts
    _published(
        tmp_path / "published",
        "one",
        train_info__metrics=[
            {
                **PUBLISHED["train_info"]["metrics"][1],
                "test accuracy": accuracy,
                "forgetting": forgetting,
            }
        ],
        train_info__train_time=seconds,
        train_info__accelerator_memory_max=memory,
        train_info__file_size=size,
        train_info__num_trainable_params=trainable,
    )
    result = bench("import", "peft-method-comparison", "published")
    assert result.returncode == 0, result.stderr
    row = _table(tmp_path / "results/peft-metamathqa")["lora/llama-3.2-3B-rank32"]
    columns = (
        "target_accuracy",
        "drift_nll",
        "train_seconds",
        "peak_train_bytes",
        "artifact_bytes",
        "trainable_parameters",
    )
    assert [float(row[c]) for c in columns] == [
        accuracy,
        forgetting,
        seconds,
        memory,
        size,
        trainable,
    ]


def test_an_imported_record_says_where_it_comes_from(tmp_path: Path, bench: Bench) -> None:
    _published(tmp_path / "published", "one")
    bench("import", "peft-method-comparison", "published")
    record = _records(tmp_path / "results/peft-metamathqa")["lora/llama-3.2-3B-rank32"]
    assert record.imported is not None
    assert (record.imported.source, record.imported.file) == ("peft-method-comparison", "one.json")
    assert record.parameters["lr"] == 0.0001
    assert record.environment.libraries == {"peft": "0.19.2", "torch": "2.13.0"}


def test_what_must_be_shared_sets_rows_apart_and_a_methods_own_settings_do_not(
    tmp_path: Path, bench: Bench
) -> None:
    folder = tmp_path / "published"
    _published(folder, "a")
    _published(
        folder,
        "b",
        run_info__experiment_name="b",
        run_info__train_config__optimizer_kwargs={"lr": 0.5},
    )
    _published(
        folder,
        "c",
        run_info__experiment_name="c",
        run_info__train_config__autocast_adapter_dtype=False,
    )
    _published(folder, "d", run_info__experiment_name="d", run_info__train_config__max_steps=100)
    bench("import", "peft-method-comparison", folder)
    records = _records(tmp_path / "results/peft-metamathqa")
    keys = {name: record.comparison_key for name, record in records.items()}
    assert keys["b"] == keys["lora/llama-3.2-3B-rank32"]
    assert len(set(keys.values())) == 3


def test_full_finetuning_failures_and_older_files_without_forgetting(
    tmp_path: Path, bench: Bench
) -> None:
    folder = tmp_path / "published"
    last = {k: v for k, v in PUBLISHED["train_info"]["metrics"][1].items() if k != "forgetting"}
    _published(folder, "new")
    _published(
        folder,
        "old",
        run_info__peft_config=None,
        run_info__experiment_name="full",
        train_info__metrics=[last],
    )
    _published(
        folder,
        "failed",
        run_info__experiment_name="boft",
        run_info__error_msg="CUDA <out> of memory",
        train_info__status="canceled",
        train_info__metrics=[],
    )
    result = bench("import", "peft-method-comparison", folder)
    assert result.returncode == 0, result.stderr
    records = _records(tmp_path / "results/peft-metamathqa")
    assert records["full"].method == "full-finetuning"
    assert (records["boft"].status, records["boft"].reason) == ("failed", "CUDA <out> of memory")
    assert "CUDA <out> of memory" in result.stdout
    assert "not published" in (tmp_path / "results/peft-metamathqa/report/table.md").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "lacks 'run_info'"),
        ('{"run_info": 3}', "is no result of PEFT"),
    ],
)
def test_files_of_another_kind_are_told_by_name(
    tmp_path: Path, bench: Bench, content: str, said: str
) -> None:
    (tmp_path / "strange.json").write_text(content)
    result = bench("import", "peft-method-comparison", tmp_path)
    assert result.returncode == 2
    assert "strange.json" in result.stderr
    assert said in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_second_import_changes_nothing_and_a_changed_file_is_told(
    tmp_path: Path, bench: Bench
) -> None:
    _published(tmp_path / "published", "one")
    for _ in range(2):
        result = bench("import", "peft-method-comparison", "published")
        assert (result.returncode, result.stderr) == (0, "")
    _published(tmp_path / "published", "one", train_info__train_time=1.0)
    result = bench("import", "peft-method-comparison", "published")
    assert "replaced the record lora-llama-3.2-3B-rank32-s0-" in result.stderr
    assert len(list((tmp_path / "results/peft-metamathqa/records").iterdir())) == 1


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results file, and samples beside it, that lm-eval's own command wrote of the tiny model."""
    from lm_eval._cli import HarnessCLI

    folder = tmp_path_factory.mktemp("lm-eval")
    rows = [item for item in items("largest", "test") if len(item.mistakes[0]) == 2][:12]
    lines = [
        json.dumps({"q": item.prompt, "right": item.answer, "wrong": item.mistakes[0]})
        for item in rows
    ]
    (folder / "test.jsonl").write_text("\n".join(lines))
    data = (
        f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder / 'test.jsonl'}}}}}\n"
    )
    shared = data + "test_split: test\ndoc_to_text: '{{q}}'\n"
    (folder / "pick.yaml").write_text(
        f"task: pick\n{shared}output_type: multiple_choice\ndoc_to_choice: '{{{{[right,"
        " wrong]}}'\ndoc_to_target: 0\n"
    )
    (folder / "say.yaml").write_text(
        f"task: say\n{shared}output_type: generate_until\ndoc_to_target: '{{{{right}}}}'\n"
        "generation_kwargs: {until: ['.'], max_gen_toks: 4}\n"
        "metric_list:\n  - {metric: exact_match, aggregation: mean, higher_is_better: true}\n"
    )
    (folder / "choices.yaml").write_text(
        "group: choices\ntask: [pick]\naggregate_metric_list: [{metric: acc, weight_by_size:"
        " true}]\n"
    )
    arguments = [
        "lm_eval",
        "run",
        "--model",
        "hf",
        "--model_args",
        f"pretrained={ROOT / 'bench/tiny/weights'},dtype=float32",
    ]
    arguments += [
        "--tasks",
        "choices,say",
        "--include_path",
        str(folder),
        "--output_path",
        str(folder / "out"),
        "--log_samples",
    ]
    given = sys.argv
    sys.argv = [*arguments, "--device", "cpu", "--batch_size", "4"]
    try:
        cli = HarnessCLI()
        cli.execute(cli.parse_args())
    finally:
        sys.argv = given
    return next((folder / "out").rglob("results_*.json"))


def test_scores_of_lm_eval_become_a_row_with_its_items(
    scored: Path, tmp_path: Path, bench: Bench
) -> None:
    assert bench("import", "lm-eval", scored, "--as", "base", "--target", "say").returncode == 0
    result = bench("import", "lm-eval", scored, "--target", "say", "--json")
    assert result.returncode == 0, result.stderr
    assert [row["recipe"] for row in json.loads(result.stdout)["rows"]] == ["base", "weights"]
    published = json.loads(scored.read_text())["results"]
    folder = tmp_path / "results/lm-eval"
    store = Store(folder)
    record = _records(folder)["weights"]
    assert record.target == ["say"]
    assert record.retain == ["choices"]
    told = {name: score.value for name, score in record.scores.items()}
    assert told == {
        "say": published["say"]["exact_match,none"],
        "choices": published["choices"]["acc,none"],
    }
    found = store.items(record.id)
    assert {key[:2] for key in found} == {("say", "say"), ("choices", "pick")}
    assert sum(value for key, value in found.items() if key[0] == "choices") / 12 == pytest.approx(
        told["choices"]
    )
    row = _table(folder)["weights"]
    assert (row["forgetting"], row["items_lost"], row["budget_unit"]) == ("0.0", "0.0", "unknown")


def test_nothing_of_the_machine_gets_into_an_imported_record(
    scored: Path, tmp_path: Path, bench: Bench
) -> None:
    bench("import", "lm-eval", scored)
    text = next((tmp_path / "results/lm-eval/records").iterdir()).read_text()
    assert str(ROOT) not in text
    assert str(scored.parent.parent.parent) not in text


def test_results_without_samples_have_scores_alone(
    scored: Path, tmp_path: Path, bench: Bench
) -> None:
    alone = shutil.copy(scored, tmp_path / scored.name)
    assert bench("import", "lm-eval", alone).returncode == 0
    store = Store(tmp_path / "results/lm-eval")
    (record,) = store.planned()
    assert store.items(record.id) == {}
    assert record.scores["say"].items == 12


def test_a_wrong_target_is_answered_with_the_right_one(scored: Path, bench: Bench) -> None:
    result = bench("import", "lm-eval", scored, "--target", "choice")
    assert result.returncode == 2
    assert "did you mean choices?" in result.stderr
    assert bench("import", "lm-eval", scored, "--suite", "../up").returncode == 2


def _result(run: str, status: str = "ok", score: float = 0.5, seconds: float = 1.0) -> Record:
    evaluation = EvaluationStage(
        scores={"t": Score(value=score, metric="acc", higher_is_better=True, items=4)},
        seconds=EvaluationSeconds(evaluate=seconds),
        parameters=Parameters(trainable=1, total=1),
        environment=Environment(device="a machine", libraries={"torch": "2.13.0"}),
    )
    return Record(
        id=run,
        suite="s",
        comparison_key="0123456789",
        recipe=run,
        method="sft",
        status=Status(status),
        reason=None if status == "ok" else "it did not fit",
        seed=0,
        target=["t"],
        evaluation=evaluation if status == "ok" else None,
    )


def _items(file: Path) -> Path:
    pd.DataFrame(
        [("t", "t", i, float(i % 2)) for i in range(4)], columns=["task", "part", "doc_id", "score"]
    ).to_parquet(file)
    return file


def _folder(folder: Path, *records: Record, suite: str = "suite: s\n") -> Path:
    store = Store(folder)
    for record in records:
        store.put(record, folder / "none")
    store.begin(suite, [record.id for record in records])
    return folder


def test_folders_of_several_machines_become_one(tmp_path: Path, bench: Bench) -> None:
    _folder(tmp_path / "a", _result("base"), _result("x", "failed"), _result("y"))
    _folder(
        tmp_path / "b",
        _result("x"),
        _result("y", seconds=9.0),
        _result("z"),
        suite="suite: s\nseeds: 3\n",
    )
    _folder(tmp_path / "c", _result("z", score=0.75), _result("base"))
    Store(tmp_path / "b").put(_result("x"), _items(tmp_path / "x.parquet"))
    result = bench("merge", "a", "b", "c", "--to", "all")
    assert result.returncode == 0, result.stderr
    store = Store(tmp_path / "all")
    assert [record.id for record in store.planned()] == ["base", "x", "y", "z"]
    assert (tmp_path / "all/items/x.parquet").read_bytes() == (tmp_path / "x.parquet").read_bytes()
    assert store.get("x").status == "ok"
    assert store.get("z").scores["t"].value == 0.5
    assert (tmp_path / "all/records/y.json").read_bytes() == (
        tmp_path / "a/records/y.json"
    ).read_bytes()
    assert "x: took the one in b, which is ok; in a it is failed" in result.stderr
    assert (
        "y: kept the one in a; the one in b differs in timing, memory or machine only"
        in result.stderr
    )
    assert "z: kept the one in b; the one in c has other scores: t 0.5 and 0.75" in result.stderr
    assert "b/suite.yaml differs from a/suite.yaml, which was kept:\n  +seeds: 3" in result.stderr
    assert "base" not in result.stderr


def test_a_damaged_record_stops_a_merge_before_anything_is_written(
    tmp_path: Path, bench: Bench
) -> None:
    _folder(tmp_path / "a", _result("x"))
    _folder(tmp_path / "b", _result("y"))
    file = tmp_path / "b/records/y.json"
    file.write_text(file.read_text().replace("0.5", "0.9"))
    result = bench("merge", "a", "b", "--to", "all")
    assert result.returncode == 2
    assert "checksum" in result.stderr
    assert not (tmp_path / "all/records").exists()
    assert bench("merge", "a", tmp_path, "--to", "all").returncode == 2


def test_a_record_cannot_be_put_outside_the_folder(tmp_path: Path, bench: Bench) -> None:
    _folder(tmp_path / "a", _result("x"))
    store = Store(tmp_path / "b")
    store.put(_result("x"), tmp_path / "none")
    (tmp_path / "b/records/x.json").unlink()
    Store(tmp_path / "b/records").put(_result("../evil"), tmp_path / "none")
    for file in (tmp_path / "b").rglob("evil.json"):
        shutil.move(file, tmp_path / "b/records/x.json")
    result = bench("merge", "a", "b", "--to", "all")
    assert result.returncode == 2
    assert "cannot be the name of a file" in result.stderr


RUNS = st.lists(
    st.builds(
        _result,
        st.sampled_from("abcd"),
        st.sampled_from(["ok", "failed"]),
        st.sampled_from([0.25, 0.5]),
    ),
    max_size=4,
    unique_by=lambda record: record.id,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(RUNS, min_size=1, max_size=3))
def test_no_run_is_lost_in_a_merge_and_doing_it_again_changes_nothing(
    tmp_path: Path, machines: list[list[Record]]
) -> None:
    shutil.rmtree(tmp_path, ignore_errors=True)
    folders = [_folder(tmp_path / str(i), *runs) for i, runs in enumerate(machines)]
    for folder in folders:
        (folder / "records").mkdir(exist_ok=True)
    merge(folders, tmp_path / "all")
    found = {record.id: record.status for record in Store(tmp_path / "all").all()}
    everything = [record for runs in machines for record in runs]
    assert found.keys() == {record.id for record in everything}
    assert all((found[r.id] == "ok") or r.status == "failed" for r in everything)
    before = {file: file.read_bytes() for file in (tmp_path / "all").rglob("*") if file.is_file()}
    merge(folders, tmp_path / "all")
    assert before == {
        file: file.read_bytes() for file in (tmp_path / "all").rglob("*") if file.is_file()
    }
