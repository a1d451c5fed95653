"""Whole runs through the command line: what is measured, what stands on disk, and what happens when
things go wrong.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..conftest import Bench
from ..runs import FIVE, records, table, write_suite

pytestmark = pytest.mark.slow


def test_five_methods_and_the_base_in_one_table(bench_process: Bench, tmp_path: Path) -> None:
    write_suite(tmp_path, FIVE)
    result = bench_process("run", "suite.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    rows = table(tmp_path)
    assert set(rows) == {"base", "sft", "instruction", "lora", "prompt-tuning", "prefix-tuning"}
    assert all(row["status"] == "ok" for row in rows.values())
    batch = 16 * 16  # rows of at most sixteen tokens
    for name, row in rows.items():
        if name != "base":
            assert 4000 <= float(row["spent_tokens"]) < 4000 + batch
            assert float(row["train_seconds"]) > 0
            assert float(row["train_tokens_per_second"]) > 0
            assert float(row["peak_train_bytes"]) > 50e6
            assert float(row["drift_kl"]) > 0
            assert int(float(row["items_lost"])) >= 0
    assert float(rows["base"]["drift_kl"]) == pytest.approx(0, abs=1e-9)
    assert int(float(rows["sft"]["trainable_parameters"])) == int(
        float(rows["base"]["total_parameters"])
    )
    assert int(float(rows["prompt-tuning"]["trainable_parameters"])) == 20 * 128
    assert int(float(rows["prefix-tuning"]["trainable_parameters"])) == 20 * 128 * 4 * 2
    # Same data order for all: with one seed, equal budgets in tokens end after equal steps.
    assert (
        len(
            {
                rows[name]["spent_steps"]
                for name in ("sft", "lora", "prompt-tuning", "prefix-tuning")
            }
        )
        == 1
    )
    markdown = (tmp_path / "results/small/report/table.md").read_text()
    assert "not trained" in markdown
    assert "|  |" not in markdown, "never a blank cell"
    assert (tmp_path / "results/small/report/learning-forgetting.svg").stat().st_size > 1000
    record = records(tmp_path)["sft-s0"]
    assert record["evaluation"]["generation_config"]["do_sample"] is False
    assert set(record["train"]["seconds"]) == {"load", "measure", "train", "save", "other"}
    assert set(record["fingerprints"]["tasks"]) == {"tiny/smallest", "tiny/last"}
    assert not list((tmp_path / "cache/bench/small").rglob("*.safetensors")), (
        "artifacts are dropped unless the suite keeps them"
    )

    again = bench_process("run", "suite.yaml", "--json")
    assert again.returncode == 0
    assert {row["recipe"] for row in json.loads(again.stdout)["rows"]} == set(rows)
    assert records(tmp_path)["sft-s0"] == record, "nothing was repeated"


@pytest.mark.parametrize(
    ("budget", "currency", "amount", "batch"),
    [
        ("samples: 100", "samples", 100, 16),
        ("steps: 7", "steps", 7, 1),
        ("flops: 2e10", "flops", 2e10, 16 * 16 * 6 * 0.9e6),
        ("seconds: 2", "seconds", 2, 1.5),
    ],
)
def test_every_run_stops_within_one_batch_of_its_budget(
    budget: str, currency: str, amount: float, batch: float, bench_process: Bench, tmp_path: Path
) -> None:
    write_suite(tmp_path, "  - sft\n  - prompt-tuning", budget)
    result = bench_process("run", "suite.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("sft-s0", "prompt-tuning-s0"):
        spent = records(tmp_path)[name]["train"]["ledger"]["spent"][currency]
        assert amount <= spent <= amount + batch


def test_seeds_repeat_and_differ(bench_process: Bench, tmp_path: Path) -> None:
    write_suite(
        tmp_path, "  - lora: {lr: 1.0e-2}\n  - {lora: {lr: 1.0e-2}, as: twin}", seeds="[0, 3]"
    )
    assert bench_process("run", "suite.yaml").returncode == 0
    found = records(tmp_path)
    losses = {name: r["train"]["loss"]["last"] for name, r in found.items() if r["train"]}
    assert len(set(losses.values())) == 4, "a recipe's own seed is its own"
    assert found["lora-s0"]["train"]["loss"]["first"] == pytest.approx(
        found["twin-s0"]["train"]["loss"]["first"], rel=0.2
    )
    row = table(tmp_path)["lora"]
    assert row["seeds"] == "2"
    assert float(row["train_seconds_std"]) >= 0
    (tmp_path / "results/small/records").joinpath(f"{found['lora-s0']['id']}.json").unlink()
    assert bench_process("run", "suite.yaml").returncode == 0
    again = records(tmp_path)["lora-s0"]
    assert again["train"]["loss"] == found["lora-s0"]["train"]["loss"], (
        "the same seed gives the same run"
    )
    assert again["evaluation"]["scores"] == found["lora-s0"]["evaluation"]["scores"]


def test_the_base_stands_beside_the_rows_of_another_budget(
    bench_process: Bench, tmp_path: Path
) -> None:
    write_suite(tmp_path, "  - lora: {lr: 1.0e-3}\n")
    assert bench_process("run", "suite.yaml").returncode == 0
    scored = records(tmp_path)["base-s0"]["finished_at"]
    suite = (tmp_path / "suite.yaml").read_text()
    (tmp_path / "suite.yaml").write_text(suite.replace("tokens: 4k", "tokens: 2k"))
    again = bench_process("run", "suite.yaml")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "tables" not in again.stdout
    assert records(tmp_path)["base-s0"]["finished_at"] == scored
    rows = table(tmp_path)
    assert rows["lora"]["forgetting"], "compared with the base"


def test_a_sequence_of_targets_is_learned_one_after_the_other(
    bench_process: Bench, tmp_path: Path
) -> None:
    write_suite(
        tmp_path, "  - sft: {lr: 1.0e-3}\n  - lora: {lr: 5.0e-3}\n  - prompt-tuning", "tokens: 12k"
    )
    text = (tmp_path / "suite.yaml").read_text()
    (tmp_path / "suite.yaml").write_text(
        text.replace("target: tiny/smallest", "target: [tiny/smallest, tiny/swap]")
    )
    result = bench_process("run", "suite.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    found = records(tmp_path)
    for name in ("sft-s0", "lora-s0"):
        assert found[name]["status"] == "ok"
        assert {"tiny/smallest", "tiny/swap"} <= set(found[name]["evaluation"]["scores"])
        assert 12_000 <= found[name]["train"]["ledger"]["spent"]["tokens"] < 12_000 + 2 * 300
    assert found["prompt-tuning-s0"]["status"] == "skipped"
    assert "cannot be merged" in found["prompt-tuning-s0"]["reason"]
