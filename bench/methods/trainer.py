"""What makes a Hugging Face or TRL trainer train under the same rules as everybody."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback, set_seed

from bench.data.order import derive
from bench.methods.fit import settle_for_trainer
from bench.methods.in_parts import average, clip
from bench.methods.optimizer import trainers_optim
from bench.methods.row_order import TrainerOrder
from bench.methods.schedule import CLIP
from bench.models.precision import in_float32
from bench.system import ranks
from bench.system.errors import Skipped

if TYPE_CHECKING:
    from bench.methods.state import SessionState


def arguments(
    session: SessionState, config: Callable[..., Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """The trainer's own class of arguments filled in, with the callback that stops it and the
    tokenizer.
    """
    settle_for_trainer(session)
    micro = session.rows_at_once
    args = config(
        **{
            "output_dir": str(session.folder),
            "per_device_train_batch_size": micro,
            "gradient_accumulation_steps": session.batch_size // (micro * ranks.count()),
            "max_steps": 1_000_000_000,  # the callback stops it
            "optim": trainers_optim(session.optim, session.device),
            "lr_scheduler_type": "constant",
            "weight_decay": 0.0,
            "max_grad_norm": CLIP if ranks.count() == 1 else 0.0,  # the callback clips
            "use_cpu": session.device.type == "cpu",
            # TRL's fused heads compute outside of the model's own forward
            "bf16": session.dtype == torch.bfloat16,
            "gradient_checkpointing": session.checkpointing,
            "gradient_checkpointing_kwargs": {"use_reentrant": False},
            "train_sampling_strategy": "sequential",  # see BudgetCallback.on_train_begin
            "seed": session.seed,
            "save_strategy": "no",
            "logging_strategy": "steps",
            "logging_steps": 1,
            "logging_nan_inf_filter": False,  # it waits for the device, and hides divergence
            "report_to": "none",
            "disable_tqdm": True,
            **settings,
        }
    )
    return {
        "args": args,
        "callbacks": [BudgetCallback(session)],
        "processing_class": session.tokenizer,
    }


class BudgetCallback(TrainerCallback):
    """Stops a trainer when the budget is spent, anneals its learning rate with it, and gives it the
    rows in the order that every method has.
    """

    def __init__(self, session: SessionState) -> None:
        self._session, self._account = session, session._account
        self._in_parts = ExitStack()

    def on_train_begin(
        self, *_: Any, model: Any = None, train_dataloader: Any = None, **__: Any
    ) -> None:
        """A trainer would repeat the order of its first epoch. One that orders rows its own way, as
        those do that sample completions, goes on with it.

        What trains has float32 masters: TRL's trainers make adapters of a quantized model bfloat16.
        """
        in_float32(p for p in model.parameters() if p.requires_grad)
        batches: Any = getattr(train_dataloader, "batch_sampler", None)
        if isinstance(getattr(batches, "sampler", None), SequentialSampler):
            batches.sampler = TrainerOrder(self._session, len(batches.sampler))
        elif ranks.count() > 1:
            raise Skipped("its trainer orders rows its own way, which several devices cannot share")

    def on_step_begin(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
        self._account.open_batch()
        self._session._phases.anneal(optimizer)
        if ranks.count() > 1:
            self._in_parts.enter_context(self._account.in_parts(self._session.device))

    def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
        """Each rank had its part of the batch, and its trainer knows of no other."""
        if ranks.count() > 1:
            self._in_parts.close()
            learning = [p for p in model.parameters() if p.requires_grad]
            average(learning)
            clip(learning, CLIP)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = not self._account.boundary()

    def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None:
            self._session.log.keep_loss(
                self._session.ledger.steps, ranks.total(loss) / ranks.count()
            )

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Ranks go on with the same random numbers, whatever each has drawn for its rows."""
        if ranks.count() > 1:
            set_seed(derive(self._session.seed, "after the trainer"))
