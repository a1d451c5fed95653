"""What people get wrong in their first suites, on models and data of their own, the plan tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import ROOT, Bench
from .own import EVALUATION, edit, jsonl

TINY = ROOT / "bench/tiny/weights"
Spoil = Callable[[Path], None]
DEV = ", validation: data/dev.jsonl"


def suite(old: str, new: str) -> Spoil:
    return lambda own: edit(own / "own.yaml", old, new)


def tuned(evaluation: str) -> Spoil:
    """A suite with a search, on an evaluation with these splits."""

    def spoil(own: Path) -> None:
        edit(own / "own.yaml", "seeds: 1", "seeds: 1\ntuning: {trials: 2}")
        files = "data_files: {validation: data/dev.jsonl, test: data/test.jsonl}"
        text = EVALUATION.replace("data_files: {test: data/test.jsonl}", files)
        (own / "reviews.yaml").write_text(text.replace("test_split: test", evaluation))

    return spoil


def model(name: str, *, config: str | None = None, weights: bytes | None = None) -> Spoil:
    """The embedded model in a folder of the suite, with one of its files replaced or left out."""

    def spoil(own: Path) -> None:
        folder = own / name
        folder.mkdir()
        for file in TINY.iterdir():
            if weights is None or file.suffix != ".safetensors":
                (folder / file.name).write_bytes(file.read_bytes())
        if config:
            (folder / "config.json").write_text(json.dumps({"model_type": config}))
        if weights:
            (folder / "model.safetensors").write_bytes(weights)
        edit(own / "own.yaml", "model: tiny", f"model: ./{name}")

    return spoil


def dated(own: Path) -> None:
    for name in ("train", "dev"):
        days = [{"text": f"{name} {n}", "label": f"2024-01-{n + 1:02}"} for n in range(9)]
        jsonl(own, name, days)


def silent(own: Path) -> None:
    talks = [{"messages": [] if n == 3 else [TURN, ANSWER]} for n in range(9)]
    jsonl(own, "train", talks)
    for part in ('      prompt: "{text} It was"\n', '      completion: " {label}"\n', DEV):
        edit(own / "own.yaml", part, "")
    edit(own / "own.yaml", "seeds: 1", "seeds: 1\nchat: {template: chat.jinja}")
    (own / "chat.jinja").write_text("{% for m in messages %}{{ m.content }} {% endfor %}")


TURN, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
MISTAKES: dict[str, tuple[Spoil, str]] = {
    "a search on the test items": (
        tuned("validation_split: validation"),
        "the lm-eval task of reviews is tested on validation, too",
    ),
    "one split for two purposes": (
        tuned("test_split: test\nvalidation_split: test"),
        "the lm-eval task of reviews is tested on test, too",
    ),
    "a column for a template": (
        suite('completion: " {label}"', "completion: label"),
        'label is a column: write completion: "{label}" for its content',
    ),
    "text that is read as a day": (dated, "label was read as datetime, not as text"),
    "a target that is retained": (
        suite("target: reviews", "target: reviews\nretain: [reviews]"),
        "line 4: reviews is a target: it cannot be under retain, too",
    ),
    "a retained task twice": (
        suite("target: reviews", "target: reviews\nretain: [tiny/sort, tiny/sort]"),
        "tiny/sort stands twice under retain",
    ),
    "a task that is nearly one of the suite's": (
        suite("target: reviews", "target: reviews\nretain: [reviws]"),
        "there is no lm-eval task reviws; did you mean reviews?",
    ),
    "drift on lines of JSON": (
        suite("target: reviews", "target: reviews\ndrift: data/dev.jsonl"),
        "drift reads a text file line by line, which data/dev.jsonl is not",
    ),
    "a conversation without turns": (silent, "data/train.jsonl, line 4: messages"),
    "a shape with a misspelled key": (
        suite("model: tiny", "model: {random: llama, hiden_size: 64}"),
        "llama has no hiden_size; did you mean hidden_size?",
    ),
    "a shape that continues no text": (
        suite("model: tiny", "model: {random: t5}"),
        "transformers knows no causal language model t5",
    ),
    "a model that continues no text": (
        model("other", config="t5"),
        "other is a t5, and no causal language model",
    ),
    "weights that were cut off": (model("cut", weights=b"\x10"), "model.safetensors is damaged"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_first_mistake_is_told_with_what_to_write(name: str, bench: Bench, own: Path) -> None:
    spoil, told = MISTAKES[name]
    spoil(own)
    planned = bench("plan", "own.yaml")
    assert planned.returncode == 2, planned.stdout
    assert "Traceback" not in planned.stderr
    assert told in " ".join(planned.stderr.split())


def test_a_model_without_weights_is_planned_and_not_run(bench: Bench, own: Path) -> None:
    model("empty", weights=b"")(own)
    said = "has no weights in safetensors, the one form that is loaded"
    planned = bench("plan", "own.yaml")
    assert planned.returncode == 0, planned.stderr
    assert said in planned.stdout
    run = bench("run", "own.yaml")
    assert run.returncode == 2
    assert said in " ".join(run.stderr.split())


def test_a_task_that_cannot_be_scored_is_a_warning(bench: Bench, own: Path) -> None:
    code = "def scored(doc, results):\n    return {'acc': doc['lable']}\n"
    (own / "own_scores.py").write_text(code)
    own_code = "doc_to_target: label\nprocess_results: !function own_scores.scored"
    edit(own / "reviews.yaml", "doc_to_target: label", own_code)
    planned = bench("plan", "own.yaml")
    assert planned.returncode == 0, planned.stderr
    assert "Warning: reviews cannot be scored: KeyError: 'lable'" in planned.stdout


def test_a_model_that_fails_on_the_data_is_told_by_the_plan(bench: Bench, own: Path) -> None:
    short = "model: {random: gpt2, n_positions: 4, n_embd: 16, n_layer: 1, n_head: 2}"
    edit(own / "own.yaml", "model: tiny", short)
    planned = bench("plan", "own.yaml")
    assert planned.returncode == 2
    assert "the model gpt2 fails on the first rows of the data: IndexError" in planned.stderr


def test_numbers_may_be_written_as_people_write_them(bench: Bench, own: Path) -> None:
    edit(own / "own.yaml", "methods: [sft]", "methods: [{sft: {lr: {low: 1e-5, high: 1E-3}}}]")
    tuned("validation_split: validation\ntest_split: test")(own)
    planned = bench("plan", "own.yaml")
    assert planned.returncode == 0, planned.stderr


def test_one_conversation_that_the_template_refuses_is_found(bench: Bench, own: Path) -> None:
    talks = [{"messages": [TURN, ANSWER]} for _ in range(3000)]
    talks[1234] = {"messages": [TURN, TURN, ANSWER]}
    jsonl(own, "train", talks)
    for part in ('      prompt: "{text} It was"\n', '      completion: " {label}"\n', DEV):
        edit(own / "own.yaml", part, "")
    edit(own / "own.yaml", "seeds: 1", "seeds: 1\nchat: {template: chat.jinja}")
    (own / "chat.jinja").write_text(
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.content }} {% endfor %}"
    )
    planned = bench("plan", "own.yaml")
    assert planned.returncode == 2
    told = " ".join(planned.stderr.split())
    assert "roles must alternate" in told
    assert "data/train.jsonl, line 1235" in told


def test_the_room_of_an_answer_is_told_beside_the_prompts(bench: Bench, own: Path) -> None:
    asked = [{"prompt": f"{n} word word word", "answer": "yes"} for n in range(9)]
    jsonl(own, "asked", asked)
    source = "    prompt-only: {path: json, data_files: {train: data/asked.jsonl}}\n"
    edit(own / "own.yaml", "    evaluate", f"{source}    reward: exact\n    evaluate")
    planned = bench("plan", "own.yaml")
    assert planned.returncode == 0, planned.stderr
    said = "cuts none; of a prompt longer than 32 the start may make room for the answer"
    assert said in " ".join(planned.stdout.split())


def test_a_package_that_is_there_is_no_name_for_a_method(bench: Bench, tmp_path: Path) -> None:
    named = bench("new-method", "json")
    assert named.returncode == 2
    assert "a package json is installed already" in named.stderr
    (tmp_path / "file").write_text("")
    placed = bench("new-method", "mine", "--to", "file")
    assert placed.returncode == 2
    assert "file is a file: give a folder to --to" in placed.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"one line\n" * 3, "fewer than a block of --context 256"), (b"\xff\xfe", "in UTF-8")],
)
def test_text_that_no_model_can_be_built_from(
    content: bytes, told: str, bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    built = bench("tiny", "build", "--out", "model", "--text", "text.txt", "--steps", 20)
    assert built.returncode == 2
    assert told in " ".join(built.stderr.split())
