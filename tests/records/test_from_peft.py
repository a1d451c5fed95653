"""Results of PEFT's method comparison: numbers come through as they were published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..conftest import Bench
from .imported import records_in, table_in

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
    row = table_in(tmp_path / "results/peft-metamathqa")["lora/llama-3.2-3B-rank32"]
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
    record = records_in(tmp_path / "results/peft-metamathqa")["lora/llama-3.2-3B-rank32"]
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
    records = records_in(tmp_path / "results/peft-metamathqa")
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
    records = records_in(tmp_path / "results/peft-metamathqa")
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
