"""What an analysis concludes from records: groups, ties, caveats, headline, sequences, curves."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ..conftest import Bench
from .changed import Change, Results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "quickstart")


def test_a_copy_under_another_name_is_tied_and_a_worse_one_is_not(results: Results) -> None:
    results.add("sft", lambda r: r.update(recipe="twin"))
    rows = {row.recipe: row for row in results.found().rows}
    assert set(rows["twin"].tie_groups) & set(rows["sft"].tie_groups)
    assert not set(rows["twin"].tie_groups) & set(rows["prefix-tuning"].tie_groups)
    assert rows["base"].tie_groups == "", "the base is no competitor"


def test_every_accuracy_and_forgetting_has_an_interval_around_it(results: Results) -> None:
    for row in results.found().rows:
        low, high = row.intervals["target_accuracy"]
        assert 0 <= low <= row.means["target_accuracy"] <= high <= 1
        if row.recipe != "base":
            low, high = row.intervals["forgetting"]
            assert low < row.means["forgetting"] < high


def test_another_budget_is_another_table_that_says_so(results: Results) -> None:
    def dearer(record: dict[str, Any]) -> None:
        record.update(
            recipe="rich",
            comparison_key="0" * 10,
            budget={"currency": "tokens", "amount": 300000.0},
        )

    results.add("sft", dearer)
    apart = results.found()
    assert [len(group.rows) for group in apart.groups] == [6, 1]
    assert "budget: 300,000 tokens here, 150,000 tokens there" in apart.groups[1].apart
    assert any("2 tables" in sentence for sentence in apart.caveats)
    assert len(results.found(together=True).groups) == 1


def test_speed_and_memory_of_another_machine_stand_apart(results: Results) -> None:
    def elsewhere(record: dict[str, Any]) -> None:
        record["recipe"] = "moved"
        for stage in ("train", "evaluation"):
            record[stage]["environment"] = {
                **record[stage]["environment"],
                "device": "another processor",
            }

    results.add("sft", elsewhere)
    (group,) = results.found().groups
    moved = next(row for row in group.rows if row.recipe == "moved")
    assert "train_tokens_per_second" not in moved.means
    assert moved.missing["train_tokens_per_second"] == "other machine"
    assert moved.means["target_accuracy"] > 0.9, "accuracy is compared all the same"
    ((place, (own,)),) = group.elsewhere
    assert "another processor" in place
    assert own.means["train_tokens_per_second"] > 0
    assert "target_accuracy" not in own.means


def test_the_report_names_its_caveats(results: Results) -> None:
    results.add(
        "sft",
        lambda r: r.update(
            recipe="lost", status="diverged", reason="the loss became nan", evaluation=None
        ),
    )
    results.runs.append("never-s0-0000000000")
    (results.folder / "plan.json").write_text(json.dumps({"runs": results.runs}))
    told = " ".join(results.found().caveats)
    for word in (
        "1 of the suite's runs",
        "Runs of lost did not end ok",
        "have one seed",
        "untuned hyper-parameters",
    ):
        assert word in told, word
    marks = {row.recipe: row.marks for row in results.found().rows}
    assert "one seed" in marks["lora"]
    assert "untuned" in marks["lora"]
    assert marks["base"] == []


def test_the_report_names_who_did_not_beat_the_base(results: Results) -> None:
    def named(label: str) -> Change:
        return lambda record: record.update(recipe=label)

    results.add("sft", named("no better"), {"tiny/smallest": [1.0] * 3 + [0.0] * 253})
    results.add("sft", named("better"), {"tiny/smallest": [1.0] * 12 + [0.0] * 244})
    (told,) = (c for c in results.found().caveats if "above the base" in c)
    assert told.startswith("no better and instruction did not raise target accuracy above the base")


def test_the_report_names_a_part_that_changed_nothing(results: Results) -> None:
    def named(label: str, after: float) -> Change:
        look = {"stage": "", "method": "sft", "goal": "nll", "better": "lower"}
        values = {"before": {"values": {"nll": 2.0}}, "after": {"values": {"nll": after}}}

        def change(record: dict[str, Any]) -> None:
            record["recipe"] = label
            record["train"]["objective"] = [look | values]

        return change

    results.add("sft", named("learning", 1.9))
    assert "changed nothing" not in " ".join(results.found().caveats)
    results.add("sft", named("still", 2.0))
    (told,) = (c for c in results.found().caveats if "changed nothing" in c)
    assert told.startswith("sft in still changed nothing")


def test_the_report_names_who_answers_at_greater_length(results: Results) -> None:
    def answering(recipe: str, tokens: int) -> Change:
        def change(record: dict[str, Any]) -> None:
            record |= {"recipe": recipe, "comparison_key": "judged"}
            record["evaluation"]["decode"] |= {"tokens": tokens, "answers": 100}

        return change

    results.add("base", answering("base", 3000))
    results.add("sft", answering("brief", 3900))
    assert "may prefer long ones" not in " ".join(results.found().caveats)
    results.add("sft", answering("wordy", 4100))
    found = results.found()
    (told,) = (c for c in found.caveats if "may prefer long ones" in c)
    assert told.startswith("The answers of wordy are longer")
    assert {r.recipe: r.means.get("answer_tokens") for r in found.rows}["wordy"] == 41


def _in_steps(tokens: float, flops: float) -> Change:
    def change(record: dict[str, Any]) -> None:
        record |= {"recipe": f"{tokens:.0f}-tokens", "comparison_key": "in-steps"}
        record["budget"] = {"currency": "steps", "amount": 100.0}
        spent = {"tokens": 100 * tokens, "flops": 100 * flops, "steps": 100.0}
        record["train"]["ledger"]["spent"] |= spent

    return change


def test_the_report_says_what_a_step_buys_where_recipes_differ(results: Results) -> None:
    results.add("sft", _in_steps(1000, 5e9))
    results.add("sft", _in_steps(1090, 5.4e9))
    assert "A step buys" not in " ".join(results.found().caveats)
    results.add("sft", _in_steps(31_400, 5.2e9))
    (told,) = (c for c in results.found().caveats if "A step buys" in c)
    assert told.startswith(
        "A step buys 1.00 k (1000-tokens) to 31.4 k tokens (31400-tokens), so the recipes had"
    )
    results.add("sft", _in_steps(1001, 1e9))
    (told,) = (c for c in results.found().caveats if "A step buys" in c)
    assert "and 1.00 G (1001-tokens) to 5.40 G FLOPs (1090-tokens)" in told


def test_a_row_without_answers_leaves_the_others_compared(results: Results) -> None:
    claimed = results.add("sft", lambda r: r.update(recipe="claimed"))
    before = {row.recipe: row.tie_groups for row in results.found().rows}
    (results.folder / f"items/{claimed['id']}.parquet").unlink()
    after = {row.recipe: row for row in results.found().rows}
    assert not after["claimed"].answered
    assert {name: bool(row.tie_groups) for name, row in after.items()} == {
        name: bool(letters) for name, letters in before.items()
    }
    assert not after["claimed"].ties_with(after["prefix-tuning"])


def test_answers_that_are_no_shares_are_compared_by_no_test(results: Results) -> None:
    answers = {"tiny/smallest": [3.0] * 64 + [0.0] * 192}
    results.add("sft", lambda r: r.update(recipe="graded"), answers)
    rows = {row.recipe: row for row in results.found().rows}
    assert rows["graded"].means["target_accuracy"] == 0.75
    assert not rows["graded"].tie_groups
    assert rows["sft"].tie_groups


def test_tables_of_other_retained_tasks_can_be_put_together(results: Results) -> None:
    def more(record: dict[str, Any]) -> None:
        record.update(recipe="more", retain=[*record["retain"], "other"], comparison_key="0" * 10)
        scores = record["evaluation"]["scores"]
        scores["other"] = deepcopy(scores["tiny/smallest"])

    results.add("sft", more)
    rows = {row.recipe: row for row in results.found(together=True).rows}
    assert rows["more"].missing["forgetting"] == "not scored"
    assert "forgetting" in rows["sft"].means


def test_speed_stays_in_the_table_that_it_was_measured_for(results: Results) -> None:
    def dearer(record: dict[str, Any]) -> None:
        record["comparison_key"] = "0" * 10

    def elsewhere(record: dict[str, Any]) -> None:
        dearer(record)
        record["train"]["seconds"]["train"] = 12345.0
        for stage in ("train", "evaluation"):
            record[stage]["environment"]["device"] = "another processor"

    for like in ("lora", "prompt-tuning"):
        results.add(like, dearer)
    results.add("sft", elsewhere)
    seconds = [r.means["train_seconds"] for r in results.found().whole_rows() if r.recipe == "sft"]
    assert seconds == [results.records["sft"]["train"]["seconds"]["train"], 12345.0]


def test_a_sequence_has_its_matrix(results: Results) -> None:
    targets = ["tiny/smallest", "tiny/add"]

    def before(record: dict[str, Any]) -> None:
        record.update(recipe="base", target=targets, retain=["tiny/sort"], comparison_key="1" * 10)

    def row(record: dict[str, Any]) -> None:
        record.update(recipe="twice", target=targets, retain=["tiny/sort"], comparison_key="1" * 10)
        record["evaluation"]["earlier_scores"] = [deepcopy(record["evaluation"]["scores"])]
        record["evaluation"]["earlier_scores"][0]["tiny/add"]["value"] = 0.25
        record["evaluation"]["earlier_scores"][0]["tiny/smallest"]["value"] = 1.0

    base = results.add("base", before)
    made = results.add("sft", row)
    results.runs = [base["id"], made["id"]]
    (results.folder / "plan.json").write_text(json.dumps({"runs": results.runs}))
    (sequence,) = results.found().sequences
    assert sequence.tasks == [*targets, "tiny/sort"]
    zero, last = base["evaluation"]["scores"], made["evaluation"]["scores"]
    assert [r[:2] for r in sequence.matrix] == [
        [zero[t]["value"] for t in targets],
        [1.0, 0.25],
        [last[t]["value"] for t in targets],
    ]
    assert sequence.metrics["backward_transfer"] == pytest.approx(
        last["tiny/smallest"]["value"] - 1.0
    )
    assert sequence.metrics["forward_transfer"] == pytest.approx(0.25 - zero["tiny/add"]["value"])
    assert sequence.metrics["forgetting"] == pytest.approx(1.0 - last["tiny/smallest"]["value"])


def test_the_files_of_a_report_agree(results: Results, bench: Bench) -> None:
    told = json.loads(bench("report", results.folder, "--json").stdout)
    folder = results.folder / "report"
    assert {f.name for f in folder.iterdir()} >= {
        "report.html",
        "table.md",
        "table.csv",
        "table.tex",
        "summary.md",
    }
    assert told["headline"] in (folder / "table.md").read_text()
    assert told["headline"] in (folder / "report.html").read_text()
    table = pd.read_csv(folder / "table.csv").set_index("recipe")
    assert table.loc["lora", "target_accuracy"] == next(
        r["target_accuracy"] for r in told["rows"] if r["recipe"] == "lora"
    )
    assert {"target_accuracy_low", "target_accuracy_high", "tie_group", "marks"} <= set(table)
