"""Graded questions as tasks: one rule behind every format, the reward and the score."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.data.formats import Format
from bench.data.rewards.reward import Reward
from bench.data.tasks import Task
from bench.tiny import graded
from bench.tiny.graded import Graded

if TYPE_CHECKING:
    from datasets import Dataset

GRADED = {
    "choose": (graded.quality, "bench.tiny.graded:quality_reward"),
    "choose-more": (graded.quantity, "bench.tiny.graded:quantity_reward"),
}
"""Tasks with graded answers, and what grades them: the quality that is wanted, and a quantity that
rises with it at first and can be had without it.
"""
FEEDBACK_FINGERPRINT = "c8a0f5d2b6139e47"
"""Stands for the content of the tasks for feedback and without data, as `tasks.FINGERPRINT` for
that of the others.
"""


def graded_task(name: str, asked: dict[str, Any], train: int, held_out: int) -> Task:
    """What writers answered to so many questions, and how it was graded; `asked` is how lm-eval
    puts a question. The score is the mean grade.
    """
    grade, reward = GRADED[name.removeprefix("tiny/")]

    def rows(split: str, shape: Callable[[Graded], dict[str, Any]]) -> Dataset:
        from datasets import Dataset

        count = train if split == "train" else held_out
        return Dataset.from_list([shape(q) for q in graded.questions(grade, split, count)])

    def test_data(**_: Any) -> dict[str, Dataset]:
        return {split: rows(split, _with_best) for split in ("validation", "test")}

    def process_results(row: dict[str, Any], results: list[str]) -> dict[str, float]:
        return {"grade": grade(row["prompt"], results[0])}

    loaders = {
        Format.PROMPT_COMPLETION: lambda split: rows(split, _one_answer),
        Format.PREFERENCE: lambda split: rows(split, _better_and_worse),
        Format.UNPAIRED_PREFERENCE: lambda split: rows(split, _good_or_bad),
        Format.PROMPT_ONLY: lambda split: rows(split, _with_best),
        Format.RANKING: lambda split: rows(split, _graded_answers),
    }
    evaluation = asked | {
        "custom_dataset": test_data,
        "process_results": process_results,
        "metric_list": [{"metric": "grade", "aggregation": "mean", "higher_is_better": True}],
    }
    return Task(name, loaders, evaluation, FEEDBACK_FINGERPRINT, reward=Reward.of(reward))


def _one_answer(asked: Graded) -> dict[str, Any]:
    return {"prompt": asked.prompt, "completion": " " + asked.candidates[0]}


def _better_and_worse(asked: Graded) -> dict[str, Any]:
    """The first answer, and the next one that has another grade."""
    first = asked.grades[0]
    other = next(n for n, grade in enumerate(asked.grades) if grade != first)
    worse, better = sorted((0, other), key=asked.grades.__getitem__)
    chosen, rejected = (" " + asked.candidates[n] for n in (better, worse))
    return {"prompt": asked.prompt, "chosen": chosen, "rejected": rejected}


def _good_or_bad(asked: Graded) -> dict[str, Any]:
    """An answer is good if its grade is above the mean of all answers to its question."""
    return _one_answer(asked) | {"label": asked.grades[0] > fmean(asked.grades)}


def _graded_answers(asked: Graded) -> dict[str, Any]:
    completions = [" " + one for one in asked.candidates]
    return {"prompt": asked.prompt, "completions": completions, "scores": list(asked.grades)}


def _with_best(asked: Graded) -> dict[str, Any]:
    return {"prompt": asked.prompt, "answer": asked.best}
