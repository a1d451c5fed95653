"""Rewards of one's own: functions in a file, and a classifier in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from bench.models.load import load_tokenizer
from bench.models.spec import TINY, ModelSpec

FUNCTIONS = """
calls = []

def short(prompts, completions, bonus, **columns):
    calls.append((prompts, completions, bonus, sorted(columns)))
    return [None if b < 0 else b - len(c) for c, b in zip(completions, bonus)]

def raises(completions, **columns):
    text = "unlucky"
    raise ValueError(f"{len(completions)} is {text}")

def leaves(completions, **columns):
    raise SystemExit

def few(completions, **columns):
    return [1.0] * 3

def nan(completions, **columns):
    return [0.0, float("nan")] * (len(completions) // 2)

def word(completions, **columns):
    return ["good"] * len(completions)

def nothing(completions, **columns):
    pass

def hangs(completions, **columns):
    while True:
        try:
            while True:
                pass
        except Exception:
            pass

async def later(completions, **columns):
    return [2] * len(completions)

def strict(prompts, completions):
    return [0.0] * len(completions)

number = 3
"""


TALK = "user : copy a ? assistant : {} "


TEMPLATE = "{% for turn in messages %}{{ turn.role }} : {{ turn.content }} {% endfor %}"


def judge_in(folder: Path, template: str | None = None, outputs: int = 1) -> Any:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        TINY, num_labels=outputs, dtype=torch.float32
    )
    model.save_pretrained(folder)
    tokenizer = load_tokenizer(ModelSpec(path="tiny"))
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return model.eval(), tokenizer
