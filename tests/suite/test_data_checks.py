"""Data is checked before anything trains: each mistake with its file and its line or row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.data.formats import Format
from bench.data.tasks import Task, find_task
from bench.models.load import load_tokenizer
from bench.models.spec import ModelSpec
from bench.suite import file as suite_file

from ..conftest import Bench

SUITE = """\
suite: own
model: tiny
target: reviews
budget: {tokens: 1k}
batch: {size: 4, max_length: 64}
seeds: 1
methods: [sft]
tasks:
  reviews:
    prompt-completion:
      path: json
      data_files: {train: data/train.jsonl, validation: data/dev.jsonl}
      prompt: "{text} It was"
      completion: " {label}"
    evaluate: reviews.yaml
"""
EVALUATION = """\
task: reviews
dataset_path: json
dataset_kwargs: {data_files: {test: data/test.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}} It was"
doc_to_choice: [bad, good]
doc_to_target: label
"""
KTO = """\
    unpaired-preference:
      path: json
      data_files: {train: data/kto.jsonl}
    evaluate"""
CHAT = """\
    prompt-completion:
      path: json
      data_files: {train: data/chat.jsonl}
    evaluate"""
ASKED = """\
    prompt-only:
      path: json
      data_files: {train: data/asked.jsonl}
    reward: exact
    evaluate"""
Rows = list[dict[str, Any]]


def rows(name: str, count: int) -> Rows:
    return [{"text": f"{name} {n}", "label": "good" if n % 2 else "bad"} for n in range(count)]


def jsonl(folder: Path, name: str, content: Rows) -> None:
    (folder / "data").mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in content)
    (folder / f"data/{name}.jsonl").write_text(text)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a suite of one's own and good data."""
    for name, count in (("train", 20), ("dev", 5), ("test", 6)):
        jsonl(tmp_path, name, rows(name, count))
    (tmp_path / "own.yaml").write_text(SUITE)
    (tmp_path / "reviews.yaml").write_text(EVALUATION)
    return tmp_path


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: edit(folder / name, old, new)


def with_row(number: int, row: dict[str, Any], name: str = "train") -> Callable[[Path], None]:
    """The good data with another row in line `number`."""

    def break_it(folder: Path) -> None:
        content = rows(name, 20)
        content[number - 1] = row
        jsonl(folder, name, content)

    return break_it


def one_line(number: int, line: str) -> Callable[[Path], None]:
    def break_it(folder: Path) -> None:
        file = folder / "data/train.jsonl"
        lines = file.read_text().splitlines()
        lines[number - 1] = line
        file.write_text("\n".join(lines))

    return break_it


def not_boolean(folder: Path) -> None:
    given = [{"prompt": "a", "completion": f" {n}", "label": n != 3 or "yes"} for n in range(9)]
    jsonl(folder, "kto", given)
    edit(folder / "own.yaml", "    evaluate", KTO)


ANSWER = {"role": "assistant", "content": "Hello"}


def talks(*turns: dict[str, str], chat: bool = True) -> Callable[[Path], None]:
    """Good conversations with another one in line 6."""

    def break_it(folder: Path) -> None:
        good = [[{"role": "user", "content": f"Hi {n}"}, ANSWER] for n in range(9)]
        jsonl(folder, "chat", [{"messages": turns if n == 5 else good[n]} for n in range(9)])
        text = (folder / "own.yaml").read_text()
        start, end = text.index("    prompt-completion"), text.index("    evaluate")
        (folder / "own.yaml").write_text(text[:start] + CHAT + text[end + len("    evaluate") :])
        if chat:
            edit(folder / "own.yaml", "seeds: 1", "seeds: 1\nchat: true")

    return break_it


def without_template(folder: Path) -> None:
    tokenizer = load_tokenizer(ModelSpec(path="tiny"))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder / "mute")
    size = "hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2"
    model = f"model: {{random: llama, {size}, tokenizer: ./mute}}"
    edit(folder / "own.yaml", "model: tiny", model)
    edit(folder / "own.yaml", "seeds: 1", "seeds: 1\nchat: true")


def rewarded(reward: str, answer: str | None) -> Callable[[Path], None]:
    """Prompts with a right answer of "A 1", and another one in line 4; without any where None."""

    def break_it(folder: Path) -> None:
        right = "C" if reward == "choice" else "C 1"
        given = [{"prompt": f"q {n}", "answer": answer if n == 3 else right} for n in range(9)]
        if answer is None:
            given = [{"prompt": row["prompt"]} for row in given]
        jsonl(folder, "asked", given)
        asked = ASKED.replace("exact", reward)
        edit(folder / "own.yaml", "    evaluate", asked)

    return break_it


BAD: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "missing split": (
        edited("own.yaml", "      prompt:", "      validation_split: dev\n      prompt:"),
        ["own.yaml, line 13: reviews, prompt-completion:", "no split dev; it has train, valid"],
    ),
    "missing column": (
        edited("own.yaml", '      completion: " {label}"\n', ""),
        [
            "own.yaml, line 10:",
            "data/train.jsonl: the data has no column 'completion'; it has text, label",
        ],
    ),
    "empty file": (lambda f: jsonl(f, "train", []), ["data/train.jsonl: this file is empty"]),
    "broken JSON": (one_line(7, '{"text": "a" "b"}'), ["data/train.jsonl, line 7: this is not JS"]),
    "template names an unknown column": (
        edited("own.yaml", "{text} It", "{texxt} It"),
        ["own.yaml, line 13:", "no column 'texxt'", "it has text, label; did you mean text?"],
    ),
    "no value in a cell": (
        with_row(4, {"text": None, "label": "bad"}),
        ["data/train.jsonl, line 4: text has no value"],
    ),
    "list in a cell": (
        with_row(9, {"text": ["a"], "label": "bad"}),
        ["data/train.jsonl, line 9: text is a list"],
    ),
    "number where text is needed": (
        lambda f: (
            jsonl(f, "train", [{"prompt": "a" if n != 2 else 7, "label": "b"} for n in range(9)]),
            jsonl(f, "dev", [{"prompt": "c", "label": "d"}]),
            edit(f / "own.yaml", '      prompt: "{text} It was"\n', ""),
        )[0],
        ["data/train.jsonl, line 3: prompt is a number (7), where text is needed"],
    ),
    "label outside the choices": (
        with_row(3, {"text": "so so", "label": "neutral"}, "test"),
        ["data/test.jsonl, line 3: the right answer 'neutral' is not among the choices bad, good"],
    ),
    "label that is not boolean": (
        not_boolean,
        ["data/kto.jsonl, line 4: label must be true or false (it is 'yes')"],
    ),
    "rows longer than max_length": (
        edited("own.yaml", "max_length: 64", "max_length: 3"),
        ["own.yaml, line 5: reviews", "all 20 rows", "data/train.jsonl are longer than max_length"],
    ),
    "wrong role": (
        talks({"role": "human", "content": "Hi"}, ANSWER),
        ["data/chat.jsonl, line 6: messages is no conversation", "turn 1 has the role 'human'"],
    ),
    "empty completion": (
        with_row(5, {"text": "a", "label": " "}),
        ["data/train.jsonl, line 5: completion is empty"],
    ),
    "evaluation without a split": (
        edited("reviews.yaml", "test_split: test\n", ""),
        ["reviews.yaml: it names neither test_split nor validation_split"],
    ),
    "evaluation with an unknown split": (
        edited("reviews.yaml", "test_split: test\n", "test_split: tset\n"),
        ["reviews.yaml, line 4: test_split names tset, and its data has test; did you mean test?"],
    ),
    "evaluation that names an unknown column": (
        edited("reviews.yaml", "{{text}}", "{{texxt}}"),
        ["reviews.yaml, line 6: doc_to_text names texxt, which", "they have text, label; did you"],
    ),
    "validation scores without validation items": (
        edited("own.yaml", "seeds: 1", "seeds: 1\nsplit: validation"),
        ["own.yaml, line 16: reviews: its lm-eval task names no validation_split"],
    ),
    "data that is not there": (
        edited("own.yaml", "      path: json\n", "      path: nobody/nothing\n"),
        ["own.yaml, line 11:", "the data set nobody/nothing is not in the cache", "HF_HUB_OFFLINE"],
    ),
    "model that is not there": (
        edited("own.yaml", "model: tiny", "model: nobody/nothing"),
        ["own.yaml, line 2: the model nobody/nothing is not in the cache", "HF_HUB_OFFLINE"],
    ),
    "conversations without a chat": (
        talks({"role": "user", "content": "Hi"}, ANSWER, chat=False),
        ["own.yaml, line 10:", "messages holds conversations", "add chat: true to the suite"],
    ),
    "conversation without an answer": (
        talks({"role": "user", "content": "Hi"}),
        ["data/chat.jsonl, line 6: messages cannot be used as completion: there is no turn of the"],
    ),
    "conversation that nobody began": (
        talks(ANSWER),
        ["data/chat.jsonl, line 6: messages cannot be used as prompt: there is no turn before"],
    ),
    "tokenizer without a chat template": (
        without_template,
        ["own.yaml, line 7: the tokenizer of", "has no chat template: take an instruct model"],
    ),
    "reward that needs an answer": (
        rewarded("exact", answer=None),
        ["own.yaml, line 15: reviews, prompt-only:", "the data has no column 'answer'"],
    ),
    "answer without a number": (
        rewarded("number", answer="none"),
        ["data/asked.jsonl, line 4: reward number: the answer 'none' holds no number"],
    ),
    "answer that is no choice": (
        rewarded("choice", answer="F"),
        ["data/asked.jsonl, line 4: reward choice: the answer 'F' is none of A, B, C, D, E"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_told_before_anything_trains(name: str, bench: Bench, own: Path) -> None:
    break_it, expected = BAD[name]
    break_it(own)
    result = bench("plan", "own.yaml")
    assert result.returncode == 2, result.stdout
    assert "Traceback" not in result.stderr
    told = result.stderr.strip().splitlines()
    assert told[0] == "own.yaml has 1 mistake in its data:" and len(told) == 2, result.stderr
    for words in expected:
        assert words in told[1]


def test_drift_needs_text(bench: Bench, own: Path) -> None:
    edit(own / "own.yaml", "seeds: 1", "seeds: 1\ndrift: reviews")
    told = bench("plan", "own.yaml").stderr
    assert "line 7: drift is measured on plain text, and reviews has no language-modeling" in told


def test_mistakes_in_a_file_of_tasks_are_told_with_its_line(bench: Bench, own: Path) -> None:
    BAD["missing column"][0](own)
    suite, _, tasks = (own / "own.yaml").read_text().partition("tasks:\n")
    (own / "own.yaml").write_text(f"{suite}tasks: mine.yaml\n")
    (own / "mine.yaml").write_text(tasks.replace("\n  ", "\n")[2:])
    assert "mine.yaml, line 2: reviews, prompt-completion" in bench("plan", "own.yaml").stderr


def test_every_mistake_is_told(bench: Bench, own: Path) -> None:
    for name in ("broken JSON", "evaluation without a split", "model that is not there"):
        BAD[name][0](own)
    told = bench("plan", "own.yaml").stderr
    assert "own.yaml has 3 mistakes in its data:" in told
    for name in ("broken JSON", "evaluation without a split", "model that is not there"):
        assert BAD[name][1][0] in told


def test_a_run_refuses_bad_data_too(bench_process: Bench, own: Path) -> None:
    BAD["empty completion"][0](own)
    result = bench_process("run", "own.yaml")
    assert result.returncode == 2
    assert "data/train.jsonl, line 5: completion is empty" in result.stderr
    assert not (own / "results").exists() and not (own / "cache/bench").exists()


def test_test_items_in_the_training_data_are_a_warning(bench: Bench, own: Path) -> None:
    with_row(8, {"text": "TEST   2", "label": "good"})(own)
    result = bench("plan", "own.yaml")
    assert result.returncode == 0, result.stderr
    told = " ".join(result.stdout.split())
    assert (
        "Warning: 1 of 6 test (reviews) items are in the training data of reviews"
        " (prompt-completion): data/test.jsonl, line 3 = data/train.jsonl, line 8" in told
    )
    data = json.loads(bench("plan", "own.yaml", "--json").stdout)["data"]
    assert [(o["items"], o["of"]) for o in data["overlaps"]] == [(1, 6)]


def test_training_on_the_test_is_told_whatever_the_template(bench: Bench, own: Path) -> None:
    jsonl(own, "train", rows("test", 6))
    edit(own / "own.yaml", "{text} It was", "Review: {text}")
    told = json.loads(bench("plan", "own.yaml", "--json").stdout)["data"]["warnings"]
    assert any("6 of 6 test (reviews) items" in warning for warning in told)


def test_good_data_warns_of_nothing_and_says_how_long_rows_are(bench: Bench, own: Path) -> None:
    data = json.loads(bench("plan", "own.yaml", "--json").stdout)["data"]
    assert data["warnings"] == [] and data["overlaps"] == []
    (source,) = data["sources"]
    assert (source["training_rows"], source["validation_rows"]) == (20, 5)
    assert source["held_out"] is False
    assert 0 < source["lengths"]["median"] <= source["lengths"]["longest"] <= 64
    assert source["lengths"]["share_cut"] == 0


# --- rows that are held out ---

WITHOUT = SUITE.replace(", validation: data/dev.jsonl", "").replace(
    "    evaluate",
    """\
    language-modeling:
      path: json
      data_files: data/train.jsonl
      text: "{text}"
    evaluate""",
)


def task_in(folder: Path) -> Task:
    suite = suite_file.load(folder / "own.yaml")
    return find_task("reviews", suite.tasks, suite.folder)


def held_out(task: Task) -> tuple[list[str], list[str]]:
    """What is held out in two formats, as plain texts."""
    prompts = task.load(Format.PROMPT_COMPLETION, "validation")["prompt"]
    texts = task.load(Format.LANGUAGE_MODELING, "validation")["text"]
    return [p.removesuffix(" It was") for p in prompts], list(texts)


def test_a_long_text_is_cut_but_not_where_it_is_packed(bench: Bench, own: Path) -> None:
    (own / "own.yaml").write_text(WITHOUT.replace("max_length: 64", "max_length: 8"))
    edit(own / "own.yaml", "methods: [sft]", "methods: [sft, dapt]")
    short = rows("train", 20)
    jsonl(own, "train", short + [{**row, "text": row["text"] * 9} for row in short])
    lines = " ".join(bench("plan", "own.yaml").stdout.split())
    told = "of the rows of reviews (language-modeling) are longer than max_length 8, but not for a"
    assert told in lines
    assert "(prompt-completion) are longer than max_length 8 " in lines


def test_training_rows_are_held_out_where_there_is_no_validation_split(
    bench: Bench, own: Path
) -> None:
    twice = rows("train", 300)
    jsonl(own, "train", [*twice, *reversed(twice)])
    (own / "own.yaml").write_text(WITHOUT)
    result = bench("plan", "own.yaml")
    assert result.returncode == 0, result.stderr
    task = task_in(own)
    held, texts = held_out(task)
    said = f"reviews: no validation split; {len(held)} of 600 training rows are held out by their"
    assert result.stdout.count(said) == 1
    assert held == texts, "the same rows in every format"
    assert 0.04 < len(held) / 600 < 0.2
    assert sorted(held) == sorted([*dict.fromkeys(held)] * 2), "rows of one content stay together"
    for format, column in (
        (Format.PROMPT_COMPLETION, "prompt"),
        (Format.LANGUAGE_MODELING, "text"),
    ):
        trained = {t.removesuffix(" It was") for t in task.load(format, "train")[column]}
        assert len(trained) == 300 - len(set(held)) and not trained & set(held)


def test_what_is_held_out_is_a_matter_of_content_alone(own: Path) -> None:
    (own / "own.yaml").write_text(WITHOUT)
    jsonl(own, "train", rows("train", 100))
    first, _ = held_out(task_in(own))
    assert first[:3] == ["train 21", "train 22", "train 29"], "on every machine"
    jsonl(own, "train", [*reversed(rows("train", 100)), {"label": "new", "text": "one more"}])
    again, _ = held_out(task_in(own))
    assert set(first) == set(again) - {"one more"}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_few_rows_are_divided_too(own: Path, count: int) -> None:
    (own / "own.yaml").write_text(WITHOUT)
    jsonl(own, "train", rows("few", count))
    task = task_in(own)
    held = len(task.load(Format.PROMPT_COMPLETION, "validation"))
    assert 1 <= held < count
    assert len(task.load(Format.PROMPT_COMPLETION, "train")) == count - held


def test_one_row_is_too_few(bench: Bench, own: Path) -> None:
    (own / "own.yaml").write_text(WITHOUT)
    jsonl(own, "train", rows("alone", 1))
    result = bench("plan", "own.yaml")
    assert result.returncode == 2
    assert "data/train.jsonl: it has one row, so none can be held out" in result.stderr


def test_the_resolved_suite_holds_out_the_same_rows(bench: Bench, own: Path) -> None:
    (own / "own.yaml").write_text(WITHOUT)
    first = json.loads(bench("plan", "own.yaml", "--json").stdout)
    (own / "again.yaml").write_text(first["suite"])
    again = json.loads(bench("plan", "again.yaml", "--json").stdout)
    assert again["runs"] == first["runs"] and again["data"] == first["data"]


@pytest.mark.slow
def test_a_suite_without_validation_data_runs(bench_process: Bench, own: Path) -> None:
    (own / "own.yaml").write_text(WITHOUT)
    result = bench_process("run", "own.yaml", "--json")
    assert result.returncode == 0, result.stderr
    (record,) = (own / "results/own/records").glob("sft-*.json")
    assert json.loads(record.read_text())["train"]["objective"][0]["after"]["values"]["nll"] > 0
