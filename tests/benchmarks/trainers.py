"""The same training by TRL's own trainers, with their defaults where the setting says nothing."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from clock import Clock
from datasets import Dataset
from setting import BETA, COMPLETION, GENERATIONS, LR, VIRTUAL_TOKENS, Setting, adapter
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

Row = dict[str, str]


def run(
    method: str, model: Any, tokenizer: Any, rows: list[Row], setting: Setting, clock: Clock
) -> None:
    """Train for the setting's steps."""
    passes = _Passes(model)
    clock.reads(lambda: passes.tokens)
    with tempfile.TemporaryDirectory() as folder:
        shared: dict[str, Any] = {
            "output_dir": folder,
            "per_device_train_batch_size": setting.batch,
            "max_steps": setting.steps,
            "learning_rate": LR[method],
            "optim": "adamw_torch",
            "train_sampling_strategy": "sequential",
            "report_to": "none",
            "save_strategy": "no",
            "use_cpu": not torch.cuda.is_available(),
            "bf16": False,
            "gradient_checkpointing": False,
            "disable_tqdm": True,
        }
        _trainer(method, model, tokenizer, rows, setting, shared).train()


class _Passes:
    """Counts the tokens of data that pass a model with gradients on."""

    def __init__(self, model: Any) -> None:
        self.tokens = 0
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _: Any, args: Any, given: dict[str, Any]) -> None:
        mask = given.get("attention_mask")
        if torch.is_grad_enabled() and mask is not None:
            virtual = VIRTUAL_TOKENS if given.get("input_ids") is None else 0
            self.tokens += int(mask.sum()) - virtual * len(mask)


def _trainer(
    method: str, model: Any, tokenizer: Any, rows: list[Row], setting: Setting, shared: Any
) -> Any:
    given = {"model": model, "processing_class": tokenizer}
    if method == "dpo":
        args = DPOConfig(**shared, beta=BETA, max_length=setting.max_length)
        return DPOTrainer(**given, args=args, train_dataset=Dataset.from_list(rows))
    if method == "grpo":
        args = GRPOConfig(
            **shared,
            beta=0.0,
            shuffle_dataset=False,
            num_generations=GENERATIONS,
            max_completion_length=COMPLETION,
        )
        data = Dataset.from_list([{"prompt": r["prompt"], "answer": r["chosen"]} for r in rows])
        return GRPOTrainer(**given, args=args, train_dataset=data, reward_funcs=_overlap)
    data = Dataset.from_list([{"prompt": r["prompt"], "completion": r["chosen"]} for r in rows])
    args = SFTConfig(**shared, max_length=setting.max_length)
    return SFTTrainer(**given, args=args, train_dataset=data, peft_config=adapter(method))


def _overlap(completions: list[str], answer: list[str], **_: Any) -> list[float | None]:
    pairs = zip(completions, answer, strict=True)
    return [
        sum(word in right.split() for word in said.split()) / COMPLETION for said, right in pairs
    ]
