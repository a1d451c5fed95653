"""The tiny language as tasks: every format of training data, and an lm-eval definition for each."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.data.formats import Format
from bench.data.sources import Split
from bench.data.tasks import Task, UnknownTask
from bench.tiny import facts, language
from bench.tiny.feedback import FEEDBACK_FINGERPRINT, GRADED, graded_task
from bench.tiny.language import RETAINED_SKILLS, TARGET_SKILLS, Item, Skill

if TYPE_CHECKING:
    from datasets import Dataset

FINGERPRINT = "e23ba13ef88d3703"
"""Stands for the content of all tasks, to which a test pins it. It enters the ids of runs: give it
a new value when the content changes, and only then.
"""
TRAIN_ITEMS = 4096
HELD_OUT_ITEMS = 256
MIXTURE_CAP = 2048  # examples-proportional mixing with a cap (Wei et al. 2021, 2109.01652, §2.1)

SKILLS = {skill.name: skill for skill in (*RETAINED_SKILLS, *TARGET_SKILLS)}
FACTS = {
    "people": ("known", "known"),
    "new-people": ("new", "new"),
    "people-in-text": ("new", "read"),
}
"""Fact tasks: the people asked about in training, and the people asked about in validation and
test.
"""
RETAINED = ("people", *(skill.name for skill in RETAINED_SKILLS))
TARGETS = (*(skill.name for skill in TARGET_SKILLS), "new-people", "people-in-text")
TEXT = "text"
LONG = "long-text"
"""Questions behind sixty statements, about 430 tokens: not for what the base knows, but for speed
and memory of long sequences.
"""
LONG_ITEMS, LONG_STATEMENTS = 512, 60
GONE = {"add-gone": "add"}
"""What the base knows and nobody can rehearse: tasks with their questions but no training data."""


def names() -> list[str]:
    short = (*RETAINED, *TARGETS, *GRADED, *GONE, LONG, TEXT)
    return [f"tiny/{name}" for name in short]


def tiny_task(name: str) -> Task:
    """The task called `tiny/…`."""
    if name not in names():
        raise UnknownTask(name, names())
    short = name.removeprefix("tiny/")
    if short == TEXT:
        loaders: dict[Format, Callable[[Split], Dataset]] = {
            Format.LANGUAGE_MODELING: lambda split: _rows(_known_text(), _as_text)
        }
        return Task(name, loaders, None, FINGERPRINT)
    if short in GRADED:
        return graded_task(name, _lm_eval(short), TRAIN_ITEMS, HELD_OUT_ITEMS)
    if short in GONE:
        evaluation = _lm_eval(GONE[short]) | {"task": name}
        return Task(name, {}, evaluation, FEEDBACK_FINGERPRINT)
    loaders = {
        Format.PROMPT_COMPLETION: lambda split: _rows(items(short, split), _as_prompt_completion),
        Format.INSTRUCTION: lambda split: _rows(_mixture(short, split), _as_prompt_completion),
        Format.PREFERENCE: lambda split: _rows(items(short, split), _as_preference),
        Format.UNPAIRED_PREFERENCE: lambda split: _rows(
            items(short, split), _as_unpaired_preference
        ),
        Format.PROMPT_ONLY: lambda split: _rows(items(short, split), _as_prompt_only),
        Format.RANKING: lambda split: _rows(items(short, split), _as_ranking),
        Format.LANGUAGE_MODELING: lambda split: _rows(_text(short, split), _as_text),
    }
    return Task(name, loaders, _lm_eval(short), FINGERPRINT)


@cache
def items(short: str, split: str) -> list[Item]:
    """The questions of one split of a task."""
    if short == LONG:
        return _long_items(split)
    if short in FACTS:
        asked, tested = FACTS[short]
        return facts.questions_about(asked if split == "train" else tested, split)
    return SKILLS[short].items(split, TRAIN_ITEMS if split == "train" else HELD_OUT_ITEMS)


def _long_items(split: str) -> list[Item]:
    """A question about a new person, with its answer somewhere among many statements before it."""
    questions = facts.questions_about("new", split)
    statements = facts.statements_about("new")
    found = []
    for number in range(LONG_ITEMS if split == "train" else LONG_ITEMS // 8):
        item = questions[number % len(questions)]
        chance = random.Random(f"{language.SEED}/{LONG}/{split}/{number}")
        before = [*chance.sample(statements, LONG_STATEMENTS - 1), item.statement]
        chance.shuffle(before)
        found.append(replace(item, question=" ".join([*before, item.question])))
    return found


def _cluster(short: str) -> str:
    return "facts" if short in (*FACTS, LONG) else SKILLS[short].cluster


def _mixture(target: str, split: str) -> list[Item]:
    """Questions of every task outside the target's cluster: what is unseen must share no ability
    with what is trained.
    """
    others = [
        name
        for name in (*RETAINED, *TARGETS)
        if _cluster(name) != _cluster(target) and name != "people-in-text"
    ]
    return [item for name in others for item in items(name, split)[:MIXTURE_CAP]]


def _text(short: str, split: str) -> list[str]:
    """Plain statements. Half of those about a skill, and those about `read` people, answer
    questions that no training row asks.
    """
    if short in (*FACTS, LONG):
        groups = ("known",) if short == "people" else ("new", "read")
        return [
            text for text in facts.statements_about(*groups) if language.split_of(text) == split
        ]
    skill: Skill = SKILLS[short]
    count = 2 * TRAIN_ITEMS if split == "train" else HELD_OUT_ITEMS
    return [item.statement for item in skill.items(split, count)]


def _known_text() -> list[str]:
    """Text of what the base knows, to measure drift on: facts, and skills on items that it was not
    trained on.
    """
    texts = [item.statement for skill in RETAINED_SKILLS for item in skill.items("test", 64)]
    texts += facts.statements_about("known")[:320]
    random.Random(language.SEED).shuffle(texts)
    return texts


def _rows(values: list[Any], shape: Callable[[Any], dict[str, Any]]) -> Dataset:
    from datasets import Dataset

    return Dataset.from_list([shape(value) for value in values])


def _as_text(text: str) -> dict[str, Any]:
    return {"text": text}


def _as_prompt_completion(item: Item) -> dict[str, Any]:
    return {"prompt": item.prompt, "completion": item.completion}


def _as_prompt_only(item: Item) -> dict[str, Any]:
    return {"prompt": item.prompt, "answer": item.answer}


def _as_preference(item: Item) -> dict[str, Any]:
    mistake = _chance(item).choice(item.mistakes[:3])
    return {"prompt": item.prompt, "chosen": item.completion, "rejected": " " + mistake}


def _as_unpaired_preference(item: Item) -> dict[str, Any]:
    chance = _chance(item)
    right = chance.random() < 0.5
    return {
        "prompt": item.prompt,
        "completion": item.completion if right else " " + chance.choice(item.mistakes[:3]),
        "label": right,
    }


def _as_ranking(item: Item) -> dict[str, Any]:
    """Four or more candidates: the answer scores 1, a mistake half the share of its words that
    stand where they should.
    """
    candidates = [item.answer, *item.mistakes]
    _chance(item).shuffle(candidates)
    scores = [1.0 if c == item.answer else 0.5 * _agreement(c, item.answer) for c in candidates]
    return {"prompt": item.prompt, "completions": [" " + c for c in candidates], "scores": scores}


def _agreement(candidate: str, answer: str) -> float:
    """Share of places that agree: words of an answer of several, digits of a number."""
    a, b = (
        (list(candidate), list(answer)) if answer.isdigit() else (candidate.split(), answer.split())
    )
    return sum(x == y for x, y in zip(a, b, strict=False)) / max(len(a), len(b))


def _chance(item: Item) -> random.Random:
    return random.Random(f"{language.SEED}/{item.question}")


def _lm_eval(short: str) -> dict[str, Any]:
    """The task as lm-eval reads it: greedy generation, exact match."""

    def load(**_: Any) -> dict[str, Dataset]:
        return {
            split: _rows(items(short, split), _as_prompt_only) for split in ("validation", "test")
        }

    return {
        "task": f"tiny/{short}",
        "custom_dataset": load,
        "validation_split": "validation",
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 12},
        "filter_list": [
            {
                "name": "strip",
                "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}],
            }
        ],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "num_fewshot": 0,
        "metadata": {"version": 1.0},
    }
