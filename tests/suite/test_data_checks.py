"""Data is checked before anything trains: each mistake with its file and its line or row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.models.load import load_tokenizer
from bench.models.spec import ModelSpec

from ..conftest import Bench
from .own import edit, jsonl, rows

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
