"""What a method is handed while it trains: start model, data, budget, and one way of stepping for everybody."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.optim import AdamW, Optimizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from . import meter
from .budget import Budget
from .data import Task, collate, encode, order, token_id
from .ledger import Account, Ledger, Meter
from .method import Format

WARM_UP = 0.05  # share of the budget over which the learning rate rises
CLIP = 1.0  # largest norm of the gradient
BATCHED = (Format.PROMPT_COMPLETION, Format.INSTRUCTION, Format.LANGUAGE_MODELING)


class Diverged(RuntimeError):
    """The loss or a weight is no longer a finite number."""


def derive(seed: int, axis: str) -> int:
    """The seed of one axis of randomness, by SHA-256, in 0 … 2³¹-1."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{axis}".encode()).digest()[:4], "big") >> 1


def schedule(fraction: float) -> float:
    """Factor on the learning rate at a fraction of the budget: a short rise, then linear to zero (Li et al. 2020, 1905.04753)."""
    return min(1.0, 0.1 + fraction / WARM_UP) * max(0.0, 1.0 - fraction)


@dataclass
class Session:
    """One training of one method on one task. The harness makes it; a method only reads and calls it."""

    task: Task
    tokenizer: PreTrainedTokenizerBase
    budget: Budget
    seed: int
    """The method's own seed; torch, numpy and random are seeded with it already."""
    device: torch.device
    dtype: torch.dtype
    folder: Path
    """An empty folder for whatever the method wants to write; it is deleted afterwards."""
    batch_size: int
    max_length: int
    ledger: Ledger
    _load: Callable[[], PreTrainedModel]
    _data_seed: int
    _tell: Callable[[float], None]
    losses: list[float] = field(default_factory=list)
    load_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._account = Account(self.budget, self.ledger, self._on_step)
        self._speed = meter.Speed(self.device)

    # ── what a method calls ─────────────────────────────────────────────────────────────────────────────────────────

    def model(self) -> PreTrainedModel:
        """A fresh copy of the start model, in training mode and metered. Loading it is not charged."""
        with meter.stopwatch(self.device) as watch:
            model = self._load().train()
            model.config.use_cache = False
            Meter(model, self._account, "train")
            _compute_in(model, self.dtype)
        if not self.ledger.steps:
            meter.restart_peak(self.device)
        self.ledger.paused += watch.seconds
        self.load_seconds += watch.seconds
        return model

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0..1."""
        return self._account.progress

    def dataset(self, format: Format) -> Dataset:
        """All training rows of the target in one format, in this suite's order."""
        data = self.task.load(format, "train")
        return data.select(list(islice(order(len(data), self._data_seed), len(data))))

    def rows(self, format: Format) -> Iterator[dict[str, list[Any]]]:
        """Batches of `batch_size` rows as columns, in the order that all recipes share; ends when the budget is spent."""
        data = self.task.load(format, "train")
        numbers = order(len(data), self._data_seed)
        while self._account.open_batch():
            yield data[list(islice(numbers, self.batch_size))]

    def batches(self, format: Format) -> Iterator[dict[str, Tensor]]:
        """As `rows`, tokenised: input_ids, attention_mask and labels of shape (batch_size, longest row) on the device."""
        if format not in BATCHED:
            raise ValueError(f"batches() gives {', '.join(BATCHED)}; take {format} as rows()")
        pad = token_id(self.tokenizer, "pad")
        for rows in self.rows(format):
            batch = collate(encode(rows, format, self.tokenizer, self.max_length), pad)
            yield {name: tensor.to(self.device) for name, tensor in batch.items()}

    def optimizer(self, model: torch.nn.Module, lr: float) -> AdamW:
        """AdamW without weight decay over everything in the model that requires a gradient."""
        return AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.0)

    def step(self, optimizer: Optimizer, loss: Tensor) -> None:
        """Backward, clip, set the learning rate by the budget spent, step."""
        self.losses.append(float(loss.detach()))
        if not math.isfinite(self.losses[-1]):
            raise Diverged(f"the loss became {self.losses[-1]} at step {self.ledger.steps + 1}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], CLIP)
        _anneal(optimizer, self._account.fraction)
        optimizer.step()
        optimizer.zero_grad()

    def trainer_kwargs(self, config: Callable[..., Any], **settings: Any) -> dict[str, Any]:
        """Arguments for a Hugging Face or TRL trainer: the same precision, batch, schedule and stop rule as everybody's.

        `config` is the trainer's own class of arguments and `settings` what the method adds, such as its learning rate.
        """
        args = config(
            output_dir=str(self.folder),
            per_device_train_batch_size=self.batch_size,
            max_steps=1_000_000_000,  # the callback stops it
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=CLIP,
            use_cpu=self.device.type == "cpu",
            bf16=False,  # the model computes in the suite's precision by itself
            gradient_checkpointing=False,
            train_sampling_strategy="sequential",  # the rows are in this suite's order already
            seed=self.seed,
            save_strategy="no",
            logging_strategy="steps",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            **settings,
        )
        return {"args": args, "callbacks": [BudgetCallback(self)], "processing_class": self.tokenizer}

    # ── what the worker reads ───────────────────────────────────────────────────────────────────────────────────────

    def tokens_per_second(self) -> float | None:
        """Trained tokens per second after the warm-up steps; None when there were too few."""
        return self._speed.read(float(self.ledger.purposes["train"].tokens))

    def close(self) -> None:
        self._account.close()

    def _on_step(self) -> None:
        self._speed.step(self.ledger.steps, lambda: float(self.ledger.purposes["train"].tokens))
        self._tell(self._account.fraction)


class BudgetCallback(TrainerCallback):
    """Stops a trainer when the budget is spent and anneals its learning rate with it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def on_step_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        _anneal(optimizer, self._session._account.fraction)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = not self._session._account.boundary()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None:
            self._session.losses.append(loss)
            if not math.isfinite(loss):
                raise Diverged(f"the loss became {loss} at step {state.global_step}")


def _anneal(optimizer: Any, fraction: float) -> None:
    for group in getattr(optimizer, "optimizer", optimizer).param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * schedule(fraction)


def _compute_in(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Arithmetic in `dtype` with float32 masters of everything that trains, whoever builds the optimizer.

    Frozen weights stay in `dtype`. PEFT calls `forward` directly, so the wrapper replaces it rather than hooking the call.
    """
    if dtype == torch.float32:
        return
    forward = model.forward

    @functools.wraps(forward)
    def in_dtype(*args: Any, **kwargs: Any) -> Any:
        for parameter in model.parameters() if torch.is_grad_enabled() else ():
            if parameter.requires_grad and parameter.dtype != torch.float32:
                parameter.data = parameter.data.float()
        with torch.autocast(model.device.type, dtype=dtype):
            return forward(*args, **kwargs)

    model.forward = in_dtype  # pyright: ignore[reportAttributeAccessIssue]
