"""Log-likelihoods of continuations: a soft prompt, and a context that several share, pass the model
once, and logits are made only where a continuation is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.functional import cross_entropy

from bench.evaluation.fitting import answered
from bench.models.labelled import logits_after
from bench.models.rounding import TOLERANCES

TOKENS_AT_ONCE = {"cpu": 512, "cuda": 16384}
LOGITS_AT_ONCE = {"cpu": 1 << 23, "cuda": 1 << 28}  # entries
SAVES = 0.25  # share of the tokens that sharing contexts must save to be worth two passes
Answer = tuple[float, bool]
"""Sum of the log-probabilities, and whether greedy decoding would say the same."""


@dataclass(frozen=True)
class Question:
    """Token ids of a context, and of one continuation; neither is empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens that pass the model: the last is only predicted."""
        return len(self.context) + len(self.continuation) - 1

    def within(self, limit: int) -> Question:
        """What of it a model reads that takes no more than so many tokens."""
        excess = self.length - limit
        return Question(self.context[excess:], self.continuation) if excess > 0 else self


@dataclass(frozen=True)
class _Choices:
    """Questions with one context, and their numbers."""

    numbers: tuple[int, ...]
    questions: tuple[Question, ...]

    @property
    def context(self) -> tuple[int, ...]:
        return self.questions[0].context

    @property
    def pays(self) -> bool:
        saved = len(self.context) * (len(self.questions) - 1)
        return saved >= SAVES * sum(question.length for question in self.questions)


@dataclass(frozen=True)
class _Reader:
    """A model that reads texts, and what it keeps of the soft prompt that stands before each."""

    model: Any
    cache: Any = None
    length: int = 0

    def given(self, ids: Tensor, mask: Tensor) -> dict[str, Any]:
        """What the model takes for a batch of (rows, length)."""
        if self.cache is None:
            return {"input_ids": ids, "attention_mask": mask}
        cache = deepcopy(self.cache)
        cache.batch_select_indices(mask.new_zeros(len(mask)))
        mask = torch.cat([mask.new_ones(len(mask), self.length), mask], 1)
        return {"input_ids": ids, "attention_mask": mask, "past_key_values": cache}


class Likelihoods:
    """Answers questions to one model. What it says of a few questions decides how the others are
    batched: as long as that changes nothing but rounding.
    """

    def __init__(self, model: Any, pad: int, device: torch.device, max_length: int) -> None:
        self._model, self._pad, self._device, self._max = model, pad, device, max_length
        self._reader = _Reader(model)
        kind = device.type if device.type in TOKENS_AT_ONCE else "cuda"
        self._tokens = TOKENS_AT_ONCE[kind]
        self._logits = LOGITS_AT_ONCE[kind] // model.config.get_text_config().vocab_size
        self._way: Literal["by context", "by row", "alone"] | None = None

    @torch.no_grad()
    def of(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers, in the order of the questions."""
        fitting = [question.within(self._max) for question in questions]
        self._way = self._way or self._tried(_sample(fitting))
        if self._way == "alone":
            return [self._by_row([_alone(0, question)])[0] for question in fitting]
        found: dict[int, Answer] = {}
        shared, single = _parted(fitting)
        of_shared = self._by_context if self._way == "by context" else self._by_row
        for choices, answers in ((shared, of_shared), (single, self._by_row)):
            for batch in self._batches(choices):
                for some, said in answered(answers, batch, _halves):
                    numbers = [number for one in some for number in one.numbers]
                    found.update(zip(numbers, said, strict=True))
        return [found[number] for number in range(len(questions))]

    def _tried(self, sample: list[_Choices]) -> Literal["by context", "by row", "alone"]:
        """The quickest way that gives a sample the answers of one row at a time."""
        questions = [question for choices in sample for question in choices.questions]
        right = [self._by_row([_alone(0, question)])[0] for question in questions]
        if not self._same(self._by_row(sample), right):
            return "alone"  # an adapter that looks at the whole batch
        plain = self._reader
        try:
            self._reader = self._behind_soft_prompt()
            ways = self._by_context(sample), self._by_row(sample)
            if all(self._same(said, right) for said in ways):
                return "by context"
        except Exception:  # a model without a cache, or an adapter that does not go with one
            pass
        self._reader = plain
        return "by row"

    def _behind_soft_prompt(self) -> _Reader:
        """The model behind its soft prompt, which then passes once and not with every row."""
        layers = getattr(self._model.config.get_text_config(), "layer_types", None) or ()
        if not has_soft_prompt(self._model) or "sliding_attention" in layers:
            return self._reader  # in a window, padding would push the soft prompt out
        ids, mask = self._padded([[self._pad]])
        cache = self._model(input_ids=ids, attention_mask=mask, use_cache=True).past_key_values
        cache.crop(-1)
        return _Reader(self._model.get_base_model(), cache, cache.get_seq_length())

    def _same(self, found: list[Answer], right: list[Answer]) -> bool:
        """Whether they differ by rounding alone: relative, and in nats where they are small."""
        tolerance = TOLERANCES[next(self._model.parameters()).dtype]
        pairs = zip(found, right, strict=True)
        return all(abs(a[0] - b[0]) <= tolerance * max(1.0, abs(b[0])) for a, b in pairs)

    def _batches(self, choices: Sequence[_Choices]) -> Iterator[list[_Choices]]:
        """Of similar length, the longest first; as many as tokens and logits leave room for."""
        batch: list[_Choices] = []
        rows = labels = longest = 0
        for one in sorted(choices, key=_longest, reverse=True):
            more = sum(len(question.continuation) for question in one.questions)
            full = (rows + len(one.questions)) * longest > self._tokens
            if batch and (full or labels + more > self._logits):
                yield batch
                batch, rows, labels = [], 0, 0
            longest = longest if batch else _longest(one)
            batch.append(one)
            rows, labels = rows + len(one.questions), labels + more
        if batch:
            yield batch

    def _by_row(self, batch: list[_Choices]) -> list[Answer]:
        """Every question as a row of its own, padded on the right."""
        questions = [question for choices in batch for question in choices.questions]
        ids, mask = self._padded([(*q.context, *q.continuation[:-1]) for q in questions])
        at = torch.zeros_like(mask, dtype=torch.bool)
        for row, question in enumerate(questions):
            at[row, len(question.context) - 1 : question.length] = True
        logits, _ = logits_after(self._reader.model, self._reader.given(ids, mask), at)
        return _answers(logits, questions)

    def _by_context(self, batch: list[_Choices]) -> list[Answer]:
        """Contexts, padded on the left, pass first. Then come all but the last token of every
        continuation, behind what the model keeps of its context.
        """
        questions = [question for choices in batch for question in choices.questions]
        owner = [row for row, choices in enumerate(batch) for _ in choices.questions]
        ids, mask = (x.flip(1) for x in self._padded([c.context[::-1] for c in batch]))
        places = (mask.cumsum(1) - 1).clamp_min(0) + self._reader.length
        last = torch.zeros_like(mask, dtype=torch.bool)
        last[:, -1] = True
        given = self._reader.given(ids, mask) | {"position_ids": places, "use_cache": True}
        first, output = logits_after(self._reader.model, given, last)
        cache = output.past_key_values  # a model that keeps something else is asked by row
        logits = list(first[owner][:, None])  # one after each context, for each question
        tails = [question.continuation[:-1] for question in questions]
        if any(tails):
            cache.batch_select_indices(torch.tensor(owner, device=self._device))
            mask = given["attention_mask"][owner]
            ids, more = self._padded(tails)
            given = {
                "input_ids": ids,
                "attention_mask": torch.cat([mask, more], 1),
                "position_ids": mask.sum(1, keepdim=True) + more.cumsum(1) - 1,
                "past_key_values": cache,
                "use_cache": True,
            }
            behind, _ = logits_after(self._reader.model, given, more.bool())
            parts = behind.split([len(tail) for tail in tails])
            logits = [torch.cat(both) for both in zip(logits, parts, strict=True)]
        return _answers(torch.cat(logits), questions)

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Ids and mask, padded on the right: (rows, longest row)."""
        width = max(map(len, rows))
        ids = [[*row, *[self._pad] * (width - len(row))] for row in rows]
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
        return torch.tensor(ids, device=self._device), torch.tensor(mask, device=self._device)


def has_soft_prompt(model: Any) -> bool:
    """Whether an adapter puts entries of its own in front of the text."""
    return isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning


@torch.no_grad()
def same_in_batch(model: Any, ids: Tensor, mask: Tensor) -> bool:
    """Whether the shortest row of a batch, (rows, length), padded on the left, has the next token's
    logits that it has alone, but for rounding.
    """
    row = int(mask.sum(1).argmin())
    length = int(mask[row].sum())
    places = (mask.cumsum(1) - 1).clamp_min(0)
    padded = model(input_ids=ids, attention_mask=mask, position_ids=places).logits[row, -1]
    alone = model(input_ids=ids[row : row + 1, -length:]).logits[0, -1]
    tolerance = TOLERANCES[next(model.parameters()).dtype] * float(alone.abs().max())
    return float((padded - alone).abs().max()) <= tolerance


def _parted(questions: Sequence[Question]) -> tuple[list[_Choices], list[_Choices]]:
    """Those whose shared contexts save enough, and every other question by itself."""
    by_context = sorted(range(len(questions)), key=lambda number: questions[number].context)
    shared: list[_Choices] = []
    single: list[_Choices] = []
    for _, same in groupby(by_context, key=lambda number: questions[number].context):
        numbers = tuple(same)
        choices = _Choices(numbers, tuple(questions[number] for number in numbers))
        if choices.pays:
            shared.append(choices)
        else:
            single.extend(_alone(number, questions[number]) for number in numbers)
    return shared, single


def _alone(number: int, question: Question) -> _Choices:
    return _Choices((number,), (question,))


def _sample(questions: Sequence[Question]) -> list[_Choices]:
    """Two short contexts, of different lengths where there are any, with two continuations each."""
    short = sorted(questions, key=lambda question: question.length)
    first = short[0]
    other = next((q for q in short if len(q.context) != len(first.context)), short[-1])
    said = (first.continuation, other.continuation)
    pairs = [tuple(Question(one.context, each) for each in said) for one in (first, other)]
    return [_Choices((0, 1), pair) for pair in pairs]


def _halves(batch: list[_Choices]) -> list[list[_Choices]]:
    """Half of the contexts each; of a single context, half of its questions."""
    if len(batch) > 1:
        middle = len(batch) // 2
        return [batch[:middle], batch[middle:]]
    numbers, questions = batch[0].numbers, batch[0].questions
    middle = len(questions) // 2
    parts = (slice(0, middle), slice(middle, None)) if middle else (slice(None),)
    return [[_Choices(numbers[part], questions[part])] for part in parts]


def _longest(choices: _Choices) -> int:
    return max(question.length for question in choices.questions)


def _answers(logits: Tensor, questions: Sequence[Question]) -> list[Answer]:
    """From the logits (tokens, vocabulary) before every token of all continuations."""
    said = [token for question in questions for token in question.continuation]
    targets = torch.tensor(said, device=logits.device)
    lengths = [len(question.continuation) for question in questions]
    # in float32: sums of bfloat16 logarithms tie, and turn answers around
    log_probs = -cross_entropy(logits.float(), targets, reduction="none")
    greedy = logits.argmax(-1) == targets
    parts = zip(log_probs.split(lengths), greedy.split(lengths), strict=True)
    return [(float(part.sum()), bool(same.all())) for part, same in parts]
