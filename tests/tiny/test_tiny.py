"""The embedded language: disjoint splits, every format, and a base that knows what it should and no
more.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.data.formats import Format
from bench.data.sources import Split
from bench.evaluation.lm_eval import open_model, score
from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec
from bench.testing.trials import tiny_session
from bench.tiny import facts, graded, language
from bench.tiny.feedback import FEEDBACK_FINGERPRINT, GRADED
from bench.tiny.tasks import (
    FINGERPRINT,
    GONE,
    RETAINED,
    TARGETS,
    items,
    names,
    tiny_task,
)

CPU = torch.device("cpu")
TASKS = (*RETAINED, *TARGETS)


def _load(name: str, format: Format, split: Split = "train") -> list[dict[str, Any]]:
    return tiny_task(f"tiny/{name}").load(format, split).to_list()


@pytest.mark.parametrize("name", TASKS)
def test_splits_share_no_question(name: str) -> None:
    questions = {split: {item.question for item in items(name, split)} for split in language.SPLITS}
    for one, other in itertools.combinations(language.SPLITS, 2):
        assert questions[one], one
        assert not questions[one] & questions[other]


@pytest.mark.parametrize("name", TASKS)
def test_every_format_has_the_columns_and_the_right_answers(name: str) -> None:
    answers = {item.prompt: item.answer for item in items(name, "train")}
    for row in _load(name, Format.PROMPT_COMPLETION):
        assert row["completion"] == " " + answers[row["prompt"]]
    for row in _load(name, Format.PROMPT_ONLY):
        assert row["answer"] == answers[row["prompt"]]
    for row in _load(name, Format.PREFERENCE):
        assert row["chosen"] == " " + answers[row["prompt"]]
        assert row["rejected"] != row["chosen"]
    for row in _load(name, Format.UNPAIRED_PREFERENCE):
        assert row["label"] == (row["completion"] == " " + answers[row["prompt"]])
    for row in _load(name, Format.RANKING):
        assert len(row["completions"]) == len(row["scores"]) == len(set(row["completions"])) >= 4
        assert row["completions"][row["scores"].index(1.0)] == " " + answers[row["prompt"]]
        assert sorted(row["scores"])[-2] < 1.0
    assert len(_load(name, Format.LANGUAGE_MODELING)) > 0


def test_rejected_answers_are_plausible() -> None:
    """A wrong smallest number is nearly always one of the three that were given, or a digit away
    from the right one.
    """
    rows = _load("smallest", Format.PREFERENCE)
    given = [row["rejected"].strip() in row["prompt"].split() for row in rows]
    assert statistics.fmean(given) > 0.5
    assert all(row["rejected"].strip().isdigit() for row in rows)


@pytest.mark.parametrize("name", TARGETS)
def test_the_instruction_mixture_leaves_out_the_target_and_its_kin(name: str) -> None:
    mixture = {row["prompt"] for row in _load(name, Format.INSTRUCTION)}
    assert not mixture & {row["prompt"] for row in _load(name, Format.PROMPT_COMPLETION)}
    if name == "smallest":
        assert not any("largest" in prompt for prompt in mixture)
        assert any(prompt.startswith("add ") for prompt in mixture)


def test_text_tells_facts_that_no_training_question_asks() -> None:
    told = " ".join(row["text"] for row in _load("people-in-text", Format.LANGUAGE_MODELING))
    asked = " ".join(row["prompt"] for row in _load("people-in-text", Format.PROMPT_COMPLETION))
    for person in facts.people()["read"]:
        assert person in told
        assert person not in asked


def test_the_tokenizer_gives_every_text_back() -> None:
    tokenizer = load_tokenizer(ModelSpec(path="tiny"))
    texts = [
        item.prompt + item.completion for name in TASKS for item in items(name, "test")
    ] + facts.statements_about("known")
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    turns = [{"role": "user", "content": "add 20 and 10 ?"}, {"role": "assistant", "content": "30"}]
    chat = tokenizer.apply_chat_template(turns, tokenize=False)
    assert tokenizer(str(chat), add_special_tokens=False)["input_ids"][-1] == tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("completion", "quality", "quantity"),
    [
        (" a d k", 1.0, 3 / 8),
        (" k p x", 1.0, 3 / 8),  # many answers are best
        (" d k", 2 / 3, 2 / 8),
        (" k d a", 1 / 3, 3 / 8),  # out of order
        (" a d z", 2 / 3, 2 / 8),  # not in the list
        (" a d k m", 3 / 4, 4 / 8),  # one too many
        (" a a a a a a a a", 1 / 8, 1.0),  # how quantity is had without quality
        ("", 0.0, 0.0),
    ],
)
def test_graded_answers_are_better_or_worse(
    completion: str, quality: float, quantity: float
) -> None:
    prompt = "name 3 of d k a x m p ?"
    assert graded.quality(prompt, completion) == pytest.approx(quality)
    assert graded.quantity(prompt, completion) == pytest.approx(quantity)


@pytest.mark.parametrize("name", GRADED)
def test_every_format_of_a_graded_task_follows_the_reward(name: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=f"tiny/{name}")

    def earned(rows: list[dict[str, Any]], column: str) -> list[float]:
        completions = [row[column] for row in rows]
        return session.reward({"prompt": [row["prompt"] for row in rows]}, completions).tolist()

    pairs = _load(name, Format.PREFERENCE)
    better, worse = earned(pairs, "chosen"), earned(pairs, "rejected")
    assert all(b > w for b, w in zip(better, worse, strict=True))
    singles = _load(name, Format.UNPAIRED_PREFERENCE)
    grades = earned(singles, "completion")
    good, bad = (
        [g for g, r in zip(grades, singles, strict=True) if r["label"] is x] for x in (True, False)
    )
    assert 0.3 < len(good) / len(grades) < 0.7
    assert statistics.fmean(good) > statistics.fmean(bad) + 0.1
    for row in _load(name, Format.RANKING)[:64]:
        rows = [{"prompt": row["prompt"], "said": said} for said in row["completions"]]
        assert earned(rows, "said") == pytest.approx(row["scores"])


def test_writers_answer_carelessly_and_never_see_a_question_of_another_split() -> None:
    rows = {s: _load("choose", Format.PROMPT_COMPLETION, s) for s in ("train", "validation")}
    assert not {r["prompt"] for r in rows["train"]} & {r["prompt"] for r in rows["validation"]}
    grades = [graded.quality(row["prompt"], row["completion"]) for row in rows["train"]]
    assert 0.4 < statistics.fmean(grades) < 0.6
    assert 0.02 < sum(grade == 1 for grade in grades) / len(grades) < 0.2


def test_quantity_rises_with_quality_among_what_writers_say() -> None:
    rows = _load("choose", Format.RANKING)
    both = [
        (score, graded.quantity(row["prompt"], said))
        for row in rows
        for said, score in zip(row["completions"], row["scores"], strict=True)
    ]
    assert statistics.correlation(*zip(*both, strict=True)) > 0.2


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        ([n for n in names() if n[5:] not in (*GRADED, *GONE)], (FINGERPRINT, "77a5599e616dfb9a")),
        ([f"tiny/{n}" for n in (*GRADED, *GONE)], (FEEDBACK_FINGERPRINT, "bd2162e869337f2a")),
    ],
)
@pytest.mark.slow
def test_the_fingerprint_stands_for_this_content(
    short: list[str], expected: tuple[str, str]
) -> None:
    """Where this fails, the content has changed: give the fingerprint and the digest new values."""
    digest = hashlib.sha256()
    tasks = [tiny_task(name) for name in short]
    for task in tasks:
        rows: list[Any] = [
            [format, split, task.load(format, split).to_list()]
            for format in sorted(task.formats)
            for split in ("train", "validation")
        ]
        asked = dict(task.evaluation) if isinstance(task.evaluation, dict) else {}
        load = asked.pop("custom_dataset", dict)
        asked.pop("process_results", None)  # what grades, the scores of a ranking say
        rows += [asked, {split: data.to_list() for split, data in load().items()}]
        digest.update(json.dumps(rows, sort_keys=True).encode())
    assert {task.fingerprint for task in tasks} == {expected[0]}
    assert digest.hexdigest()[:16] == expected[1]


@pytest.mark.slow
def test_the_base_knows_what_is_retained_and_not_the_targets() -> None:
    spec = ModelSpec(path="tiny")
    lm = open_model(load_model(spec, torch.float32, CPU), load_tokenizer(spec), 128, CPU)
    tasks = (*TASKS, *GRADED, *GONE)
    scores = {name: score(lm, tiny_task(f"tiny/{name}"), "test")[0] for name in tasks}
    accuracy = {name: found.value for name, found in scores.items()}
    assert statistics.fmean(accuracy[name] for name in RETAINED) >= 0.95, accuracy
    assert all(accuracy[name] <= 0.10 for name in TARGETS), accuracy
    assert scores["add-gone"].items == scores["add"].items
    for name in GRADED:
        assert scores[name].metric == "grade"
        assert accuracy[name] == pytest.approx(statistics.fmean(scores[name].items.values()))
        assert 0.1 < accuracy[name] < 0.6


def test_what_is_gone_can_be_asked_and_not_rehearsed() -> None:
    assert not tiny_task("tiny/add-gone").formats
    assert tiny_task("tiny/add-gone").evaluation
