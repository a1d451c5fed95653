"""Scores of a model, and nothing about how it was trained: lm-eval in, scores and per-item outcomes out; drift on text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from lm_eval.evaluator import evaluate as lm_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from . import meter
from .batching import collate, encode, token_id
from .data import Task
from .errors import UserError
from .method import Format

logging.getLogger("lm_eval").setLevel(logging.ERROR)
Model = PreTrainedModel | PeftModel
_HFLM: Any = HFLM  # lm-eval's registration hides its type
DRIFT_ROWS = 1024
LOGITS_AT_ONCE = 1 << 25  # entries of a logits tensor


@dataclass(frozen=True)
class Score:
    """What lm-eval says of one task, and the outcome of each item by its document number."""

    task: str
    metric: str
    value: float
    higher_is_better: bool
    items: dict[int, float] = field(repr=False)


class GreedyLM(_HFLM):
    """lm-eval's Hugging Face model, made to decode greedily and without padding, whatever the task or the model would say.

    Left padding puts a gap between a soft prompt and the text and so changes its answers; rows of one length need none.
    """

    generated_tokens = 0
    generation_seconds = 0.0
    resolved: dict[str, Any] | None = None

    def _model_generate(self, context: Tensor, max_length: int, stop: list[str], **settings: Any) -> Tensor:
        mask = settings.pop("attention_mask")
        settings = {k: v for k, v in settings.items() if k not in ("temperature", "top_p", "top_k")} | {"do_sample": False}
        pad = token_id(self.tokenizer, "pad")
        room = max_length - context.shape[1]
        out = context.new_full((context.shape[0], max_length), pad)
        lengths = mask.sum(1)
        with meter.stopwatch(self.device) as watch:
            for length in lengths.unique().tolist():
                rows = (lengths == length).nonzero().flatten()
                texts = super()._model_generate(
                    context[rows, -length:], length + room, stop, attention_mask=mask[rows, -length:], **settings
                )
                answers = texts[:, length:]
                out[rows, context.shape[1] : context.shape[1] + answers.shape[1]] = answers
                self.generated_tokens += int((answers != pad).sum())
        self.generation_seconds += watch.seconds
        if self.resolved is None:
            self.resolved = {**self.model.generation_config.to_diff_dict(), **settings}
            self.resolved.pop("transformers_version", None)
        return out


def open_model(model: Model, tokenizer: PreTrainedTokenizerBase, batch_size: int, device: torch.device) -> GreedyLM:
    model.config.use_cache = True
    # lm-eval ties weights anew, which fails where an adapter wraps a tied embedding; loading has tied them already.
    model.tie_weights = lambda *_, **__: None  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return GreedyLM(pretrained=model.eval(), tokenizer=tokenizer, batch_size=batch_size, device=str(device))


def score(lm: GreedyLM, task: Task, split: str) -> list[Score]:
    """One score per lm-eval task that the name stands for (a group has several)."""
    with torch.no_grad():
        loaded = _load(task, split)
        results: Any = lm_evaluate(lm, loaded, bootstrap_iters=0, verbosity="ERROR")
    return [_read(task.name if len(loaded) == 1 else name, name, results) for name in loaded]


def _load(task: Task, split: str) -> Any:
    config = task.evaluation
    if isinstance(config, str):
        loaded: Any = TaskManager(include_defaults=True).load([config])["tasks"]
        if split == "validation":
            raise UserError(f"{task.name}: lm-eval's own tasks are scored on their test split; declare the task to use another")
        return loaded
    assert config is not None
    given = dict(config)
    if split == "validation":
        if not given.get("validation_split"):
            raise UserError(f"{task.name}: its lm-eval task names no validation_split")
        given["test_split"] = None
    return TaskManager(include_defaults=False).load([given])["tasks"]


def _read(label: str, name: str, results: Any) -> Score:
    """The first metric of a task is its score."""
    key = next(k for k, v in results["results"][name].items() if "," in k and "_stderr" not in k and isinstance(v, (int, float)))
    metric, filter_name = key.split(",")
    samples = [s for s in results["samples"][name] if s["filter"] == filter_name]
    items = {int(s["doc_id"]): float(s[metric]) for s in samples if isinstance(s.get(metric), (int, float))}
    return Score(label, metric, float(results["results"][name][key]), bool(results["higher_is_better"][name][metric]), items)


@dataclass(frozen=True)
class Drift:
    """Change of the predicted distribution on plain text, in nats per token."""

    nll: float
    base_nll: float
    kl: float
    """KL(base ‖ tuned)."""
    tokens: int


def drift(
    base: Model, tuned: Model, texts: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int, tell: Callable[[float], None]
) -> Drift:
    """NLL of both models and KL(base ‖ tuned), averaged over all predicted tokens of at most the first 1024 texts."""
    encoded = encode({"text": texts[:DRIFT_ROWS]}, Format.LANGUAGE_MODELING, tokenizer, max_length)
    encoded = sorted(encoded, key=lambda e: len(e[0]))
    totals, count = torch.zeros(3, dtype=torch.float64), 0
    for done, batch in _text_batches(encoded, token_id(tokenizer, "pad"), base):
        with torch.no_grad():
            before, after = _log_probabilities(base, batch), _log_probabilities(tuned, batch)
        targets, real = batch["input_ids"][:, 1:], batch["attention_mask"][:, 1:].bool()
        nll_before = -before.gather(-1, targets[..., None])[..., 0]
        nll_after = -after.gather(-1, targets[..., None])[..., 0]
        divergence = (before.exp() * (before - after)).sum(-1)
        totals += torch.stack([x[real].sum() for x in (nll_after, nll_before, divergence)]).cpu()
        count += int(real.sum())
        tell(done / len(encoded))
    nll, base_nll, kl = (totals / max(count, 1)).tolist()
    return Drift(nll, base_nll, kl, count)


def _text_batches(encoded: list[Any], pad: int, model: Model) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Rows of similar length, as many at once as their logits leave room for."""
    vocabulary = model.config.get_text_config().vocab_size
    start = 0
    while start < len(encoded):
        size = max(1, min(64, LOGITS_AT_ONCE // (vocabulary * len(encoded[min(start + 63, len(encoded) - 1)][0]))))
        batch = collate(encoded[start : start + size], pad)
        start += size
        yield min(start, len(encoded)), {name: tensor.to(model.device) for name, tensor in batch.items()}


def _log_probabilities(model: Model, batch: dict[str, Tensor]) -> Tensor:
    """Of every token after the first, shape (rows, length - 1, vocabulary). Soft prompts put logits of their own in front.

    In float64: a divergence is a small sum of large terms of both signs, and in float32 that of near models would be their rounding.
    """
    width = batch["input_ids"].shape[1]
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    return torch.log_softmax(logits[:, -width:-1].double(), dim=-1)
