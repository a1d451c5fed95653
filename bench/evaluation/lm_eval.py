"""Scores of a model by lm-eval, decoded greedily, with the outcome of every item."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lm_eval.evaluator import evaluate as lm_evaluate
from lm_eval.models.huggingface import HFLM
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.accounting import resources
from bench.data.order import evenly_spaced
from bench.data.tasks import Task
from bench.data.tokenize import token_id
from bench.evaluation.fitting import answered
from bench.evaluation.likelihood import Likelihoods, Question, has_soft_prompt, same_in_batch
from bench.evaluation.lm_eval_tasks import load_tasks, on_hub

Model = PreTrainedModel | PeftModel

SAME = 1e-6  # as close as a mean of items comes to the mean that lm-eval gives
_HFLM: Any = HFLM  # lm-eval's registration hides its type


@dataclass(frozen=True)
class Score:
    """What lm-eval says of one task, and the outcome of each item by its document number."""

    task: str
    metric: str
    value: float
    higher_is_better: bool
    items: dict[int, float] = field(repr=False)
    source: dict[str, Any] | None
    """Path, name and split on the Hub; None where the items are from elsewhere."""


class GreedyLM(_HFLM):
    """lm-eval's Hugging Face model, made to decode greedily, whatever the task or the model would
    say, and to answer as it answers one row at a time, however rows are batched.
    """

    engine: str | None = None
    """What generates, with its version; None where it is transformers."""
    answers = generated_tokens = 0
    generation_seconds = 0.0
    resolved: dict[str, Any] | None = None

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str] | None, list[int], list[int]]],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        if self._likelihoods is None:
            pad = token_id(self.tokenizer, "pad")
            self._likelihoods = Likelihoods(self.model, pad, self.device, self.max_length)
        questions = [Question(tuple(context), tuple(said)) for _, context, said in requests]
        return self._likelihoods.of(questions)

    _likelihoods: Likelihoods | None = None

    def _model_generate(
        self, context: Tensor, max_length: int, stop: list[str], **settings: Any
    ) -> Tensor:
        mask = settings.pop("attention_mask")
        settings = {
            k: v for k, v in settings.items() if k not in ("temperature", "top_p", "top_k")
        } | {"do_sample": False}
        pad = token_id(self.tokenizer, "pad")
        room = max_length - context.shape[1]
        model_generate = super()._model_generate

        def generate(rows: Tensor) -> Tensor:
            width = int(mask[rows].sum(1).max())
            given = context[rows, -width:], width + room, stop
            return model_generate(*given, attention_mask=mask[rows, -width:], **settings)[:, width:]

        out = context.new_full((context.shape[0], max_length), pad)
        with resources.stopwatch(self.device) as watch:
            for together in self._together(context, mask):
                for rows, answers in answered(generate, together, lambda rows: rows.chunk(2)):
                    out[rows, context.shape[1] : context.shape[1] + answers.shape[1]] = answers
        self._note(out[:, context.shape[1] :], watch.seconds, settings)
        return out

    def _note(self, answers: Tensor, seconds: float, settings: dict[str, Any]) -> None:
        """Count answers, (rows, tokens), padded; and how they were generated."""
        self.answers += len(answers)
        self.generated_tokens += int((answers != token_id(self.tokenizer, "pad")).sum())
        self.generation_seconds += seconds
        if self.resolved is None:
            self.resolved = {**self.model.generation_config.to_diff_dict(), **settings}
            self.resolved.pop("transformers_version", None)

    def _together(self, context: Tensor, mask: Tensor) -> list[Tensor]:
        """Which rows are answered at once: all, or those of one length, as padding on the left puts
        a gap between a soft prompt and the text, or none where an adapter looks at the whole batch.
        """
        rows, lengths = torch.arange(len(mask), device=mask.device), mask.sum(1)
        if has_soft_prompt(self.model):
            return [rows[lengths == length] for length in lengths.unique()]
        if self._batches is None and len(rows) > 1:
            self._batches = same_in_batch(self.model, context, mask)
        return [rows] if self._batches is not False else list(rows[:, None])

    _batches: bool | None = None
    """Whether a row is answered the same in a batch as alone; None before it was tried."""


def open_model(
    model: Model, tokenizer: PreTrainedTokenizerBase, batch_size: int, device: torch.device
) -> GreedyLM:
    model.config.use_cache = True
    # lm-eval ties weights anew, which fails where an adapter wraps a tied embedding; loading has
    # tied them already.
    model.tie_weights = lambda *_, **__: None  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return GreedyLM(
        pretrained=model.eval(), tokenizer=tokenizer, batch_size=batch_size, device=str(device)
    )


def score(lm: GreedyLM, task: Task, split: str) -> list[Score]:
    """One score per lm-eval task that the name stands for (a group has several)."""
    with torch.no_grad():
        loaded = load_tasks(task, split)
        results = _scored(lm, loaded, task)
    return [
        _read(task.name if len(loaded) == 1 else name, name, results, on_hub(one.config))
        for name, one in loaded.items()
    ]


def generates(task: Task, split: str) -> bool:
    """Whether a task asks for text, and for nothing else."""
    asked = load_tasks(task, split).values()
    return all(one.OUTPUT_TYPE == "generate_until" for one in asked)


def seconds_of(lm: GreedyLM, task: Task, split: str, enough: float) -> float:
    """Seconds that scoring a task takes, from some of its items: from more of them until a pass has
    taken `enough` seconds, or from all.
    """
    loaded = load_tasks(task, split)
    sizes = [len(one.eval_docs) for one in loaded.values()]
    asked = [min(size, task.items or size) for size in sizes]
    count, took = 4, 0.0
    while True:
        some = replace(task, items=min(count, task.items or count))
        started = time.perf_counter()
        with torch.no_grad():
            _scored(lm, loaded, some)
        took = time.perf_counter() - started
        if took > enough or count >= max(asked):
            return took * sum(asked) / sum(min(size, count) for size in asked)
        count *= 3


def _scored(lm: GreedyLM, loaded: Any, task: Task) -> Any:
    """What lm-eval says of the tasks that a name stands for."""
    chat = task.chat
    return lm_evaluate(
        lm,
        loaded,
        samples=_chosen(task, loaded),
        bootstrap_iters=0,
        verbosity="ERROR",
        apply_chat_template=chat is not None,
        fewshot_as_multiturn=chat is not None,
        system_instruction=chat and chat.system,
    )


def _chosen(task: Task, loaded: Any) -> dict[str, list[int]] | None:
    """Numbers of the documents that count, evenly spaced, as a file may be sorted; None for all."""
    if task.items is None:
        return None
    return {name: evenly_spaced(task.items, len(one.eval_docs)) for name, one in loaded.items()}


def _read(label: str, name: str, results: Any, source: dict[str, Any] | None) -> Score:
    """The first metric of a task that is better when higher is its score, or else its first one."""
    better_higher = results["higher_is_better"][name]
    keys = [
        k
        for k, v in results["results"][name].items()
        if "," in k and "_stderr" not in k and isinstance(v, (int, float))
    ]
    key = next((k for k in keys if better_higher.get(k.split(",")[0])), keys[0])
    metric, filter_name = key.split(",")
    value = float(results["results"][name][key])
    samples = [s for s in results["samples"][name] if s["filter"] == filter_name]
    items = {
        int(s["doc_id"]): float(s[metric])
        for s in samples
        if isinstance(s.get(metric), (int, float))
    }
    # a perplexity has items too, of another kind than itself
    mean = sum(items.values()) / len(items) if items else value
    is_mean = math.isclose(mean, value, rel_tol=SAME, abs_tol=SAME)
    better = bool(better_higher[metric])
    return Score(label, metric, value, better, items if is_mean else {}, source)
