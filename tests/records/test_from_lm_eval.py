"""Scores that lm-eval measured become a row."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from bench.records.store import Store
from bench.tiny.tasks import items

from ..conftest import ROOT, Bench
from .imported import records_in, table_in


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
    record = records_in(folder)["weights"]
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
    row = table_in(folder)["weights"]
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


def test_the_score_is_a_metric_that_is_better_when_higher(
    scored: Path, tmp_path: Path, bench: Bench
) -> None:
    """As in runs of bench: lambada has its perplexity first."""
    content = json.loads(scored.read_text())
    for part, value in (("results", 3.5), ("higher_is_better", False)):
        key = "perplexity,none" if part == "results" else "perplexity"
        content[part]["say"] = {key: value, **content[part]["say"]}
    (tmp_path / scored.name).write_text(json.dumps(content))
    assert bench("import", "lm-eval", tmp_path / scored.name).returncode == 0
    (record,) = Store(tmp_path / "results/lm-eval").planned()
    assert record.scores["say"].metric == "exact_match"
    assert record.scores["say"].value == content["results"]["say"]["exact_match,none"]


def test_a_sample_may_hold_any_character(scored: Path, tmp_path: Path, bench: Bench) -> None:
    """lm-eval writes those as they are that end a line elsewhere."""
    for file in scored.parent.iterdir():
        shutil.copy(file, tmp_path / file.name)
    (samples,) = tmp_path.glob("samples_say_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text().split("\n") if line]
    for line in lines:
        line["doc"]["q"] += "\u2028or\u0085so"
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    samples.write_text(f"{text}\n", encoding="utf-8")
    result = bench("import", "lm-eval", tmp_path / scored.name)
    assert result.returncode == 0, result.stderr
    store = Store(tmp_path / "results/lm-eval")
    (record,) = store.planned()
    assert sum(key[0] == "say" for key in store.items(record.id)) == len(lines) == 12


def test_a_wrong_target_is_answered_with_the_right_one(scored: Path, bench: Bench) -> None:
    result = bench("import", "lm-eval", scored, "--target", "choice")
    assert result.returncode == 2
    assert "did you mean choices?" in result.stderr
    assert bench("import", "lm-eval", scored, "--suite", "../up").returncode == 2
