"""What all sides share: models, batches and hyper-parameters."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WARM_UP = 4  # steps that are not timed
ROUNDS, TURNS = 3, 3  # rounds of a comparison; turns that each side has in a round
GENERATIONS, COMPLETION = 4, 8  # of grpo: completions of a prompt, tokens of a completion
VIRTUAL_TOKENS, RANK, BETA = 20, 16, 0.1
LR = {"sft": 1e-5, "lora": 1e-4, "prompt-tuning": 1e-2, "dpo": 1e-6, "grpo": 1e-6}
METHODS = tuple(LR)
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Setting:
    """One model and how long it is timed."""

    batch: int
    max_length: int
    turn: int
    """Steps of a turn."""

    @property
    def steps(self) -> int:
        return WARM_UP + ROUNDS * TURNS * self.turn


SETTINGS = {"tiny": Setting(64, 64, 12), "smollm2": Setting(8, 128, 2)}


def adapter(method: str) -> Any:
    """PEFT's configuration of a method's adapter, or None."""
    import peft

    if method == "lora":
        return peft.LoraConfig(
            task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, target_modules=LINEAR
        )
    if method == "prompt-tuning":
        return peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL_TOKENS)
    return None


def adapted(method: str, model: Any) -> Any:
    """The model with the adapter of a method, if it has one."""
    import peft

    shape = adapter(method)
    return peft.get_peft_model(model, shape) if shape else model


def machine() -> str:
    """Where this is measured."""
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def spread(values: Sequence[float]) -> str:
    """The median, with the smallest and the largest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
