"""The embedded language: disjoint splits, every format, and a base that knows what it should and no
more.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import statistics
from typing import Any

import pytest
import torch

from bench.data.formats import Format
from bench.data.sources import Split
from bench.evaluation.lm_eval import open_model, score
from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec
from bench.tiny import facts, language
from bench.tiny.tasks import FINGERPRINT, RETAINED, TARGETS, items, names, tiny_task

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


@pytest.mark.slow
def test_the_fingerprint_stands_for_this_content() -> None:
    """Where this fails, the content has changed: give FINGERPRINT and the digest new values."""
    digest = hashlib.sha256()
    for task in map(tiny_task, names()):
        rows: list[Any] = [
            [format, split, task.load(format, split).to_list()]
            for format in sorted(task.formats)
            for split in ("train", "validation")
        ]
        asked = dict(task.evaluation) if isinstance(task.evaluation, dict) else {}
        load = asked.pop("custom_dataset", dict)
        rows += [asked, {split: data.to_list() for split, data in load().items()}]
        digest.update(json.dumps(rows, sort_keys=True).encode())
    assert (FINGERPRINT, digest.hexdigest()[:16]) == ("e23ba13ef88d3703", "77a5599e616dfb9a")


@pytest.mark.slow
def test_the_base_knows_what_is_retained_and_not_the_targets() -> None:
    spec = ModelSpec(path="tiny")
    lm = open_model(load_model(spec, torch.float32, CPU), load_tokenizer(spec), 128, CPU)
    accuracy = {name: score(lm, tiny_task(f"tiny/{name}"), "test")[0].value for name in TASKS}
    assert statistics.fmean(accuracy[name] for name in RETAINED) >= 0.95, accuracy
    assert all(accuracy[name] <= 0.10 for name in TARGETS), accuracy
