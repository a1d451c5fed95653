"""The loop that a person writes first, in plain PyTorch: pad, forward, backward, clip, step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from clock import Clock
from setting import BETA, COMPLETION, GENERATIONS, LR, Setting, adapted
from torch import Tensor
from torch.nn.functional import logsigmoid

Row = dict[str, str]
Batch = dict[str, Tensor]


def run(
    method: str, model: Any, tokenizer: Any, rows: list[Row], setting: Setting, clock: Clock
) -> None:
    """Train for the setting's steps."""
    read = 0
    clock.reads(lambda: read)
    reference = copy.deepcopy(model).eval() if method == "dpo" else None
    model = adapted(method, model).train()
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=LR[method], weight_decay=0.0
    )
    losses: dict[str, Callable[[list[Row]], tuple[Tensor, int]]] = {
        "dpo": lambda some: _dpo(model, reference, tokenizer, some, setting),
        "grpo": lambda some: _grpo(model, tokenizer, some, setting),
    }
    loss_of = losses.get(method, lambda some: _sft(model, tokenizer, some, setting))
    for some in _batches(rows, setting, GENERATIONS if method == "grpo" else 1):
        loss, tokens = loss_of(some)
        read += tokens
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def _batches(rows: list[Row], setting: Setting, per_prompt: int) -> Iterator[list[Row]]:
    size = setting.batch // per_prompt
    for step in range(setting.steps):
        yield [rows[(step * size + i) % len(rows)] for i in range(size)]


def _encoded(tokenizer: Any, texts: list[tuple[str, str]], longest: int) -> Batch:
    prompts = [tokenizer(prompt)["input_ids"] for prompt, _ in texts]
    whole = [
        (ids + tokenizer(said, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id])
        for ids, (_, said) in zip(prompts, texts, strict=True)
    ]
    return _padded([(ids[:longest], len(p)) for ids, p in zip(whole, prompts, strict=True)])


def _padded(rows: list[tuple[list[int], int]]) -> Batch:
    """From ids and the length of the prompt: input_ids, attention_mask and labels."""
    width = max(len(ids) for ids, _ in rows)
    ids, mask, labels = [], [], []
    for row, prompt in rows:
        gap = width - len(row)
        ids.append(row + [0] * gap)
        mask.append([1] * len(row) + [0] * gap)
        labels.append([-100] * prompt + row[prompt:] + [-100] * gap)
    named = zip(("input_ids", "attention_mask", "labels"), (ids, mask, labels), strict=True)
    return {name: torch.tensor(value) for name, value in named}


def _sft(model: Any, tokenizer: Any, rows: list[Row], setting: Setting) -> tuple[Tensor, int]:
    pairs = [(row["prompt"], row["chosen"]) for row in rows]
    batch = _encoded(tokenizer, pairs, setting.max_length)
    return model(**batch).loss, int(batch["attention_mask"].sum())


def _log_probs(model: Any, batch: Batch) -> Tensor:
    """Log-probability of each label, (rows, length - 1); 0 where there is none."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    labels = batch["labels"][:, 1:]
    told = logits[:, :-1].log_softmax(-1).gather(-1, labels.clamp_min(0)[..., None])[..., 0]
    return told * (labels != -100)


def _dpo(
    model: Any, reference: Any, tokenizer: Any, rows: list[Row], setting: Setting
) -> tuple[Tensor, int]:
    """Rafailov et al. 2023, 2305.18290, eq. 7."""
    pairs = [(row["prompt"], row[kind]) for kind in ("chosen", "rejected") for row in rows]
    batch = _encoded(tokenizer, pairs, setting.max_length)
    with torch.no_grad():
        before = _log_probs(reference, batch).sum(1)
    chosen, rejected = (_log_probs(model, batch).sum(1) - before).chunk(2)
    return -logsigmoid(BETA * (chosen - rejected)).mean(), int(batch["attention_mask"].sum())


def _grpo(model: Any, tokenizer: Any, rows: list[Row], setting: Setting) -> tuple[Tensor, int]:
    """Shao et al. 2024, 2402.03300, without a reference. The reward is the share of tokens that the
    right completion has too.
    """
    prompts = [tokenizer(row["prompt"])["input_ids"] for row in rows for _ in range(GENERATIONS)]
    width = max(map(len, prompts))
    left = [[tokenizer.pad_token_id or 0] * (width - len(ids)) + ids for ids in prompts]
    mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
    with torch.no_grad():
        said = model.generate(
            input_ids=torch.tensor(left),
            attention_mask=torch.tensor(mask),
            do_sample=True,
            top_k=0,
            max_new_tokens=COMPLETION,
            pad_token_id=tokenizer.pad_token_id or 0,
        )[:, width:]
    answers = [row["chosen"].split() for row in rows for _ in range(GENERATIONS)]
    texts = tokenizer.batch_decode(said, skip_special_tokens=True)
    rewards = torch.tensor(
        [sum(w in a for w in t.split()) / COMPLETION for t, a in zip(texts, answers, strict=True)]
    )
    groups = rewards.view(-1, GENERATIONS)
    spread = groups.std(1, keepdim=True) + 1e-4
    advantages = ((groups - groups.mean(1, keepdim=True)) / spread).flatten()
    ended = [_up_to(tokenizer.eos_token_id, more) for more in said.tolist()]
    pairs = zip(prompts, ended, strict=True)
    batch = _padded([(ids + more, len(ids)) for ids, more in pairs])
    log_probs = _log_probs(model, batch)
    ratio = (log_probs - log_probs.detach()).exp()
    kept = batch["labels"][:, 1:] != -100
    loss = -(ratio * advantages[:, None])[kept].mean()
    return loss, int(batch["attention_mask"].sum())


def _up_to(end: int, ids: list[int]) -> list[int]:
    """A completion with its end token, and without what stands behind it."""
    return ids[: ids.index(end) + 1] if end in ids else ids
