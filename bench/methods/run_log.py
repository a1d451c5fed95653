"""What is written down while a run trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import ref

from bench.accounting.resources import Held, Memory, held
from bench.methods.phase import Phase, journal
from bench.methods.schedule import Diverged

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

READ_EVERY = 16  # steps: reading a loss waits for the GPU


@dataclass
class RunLog:
    """What is written down while a run trains, over all its stages."""

    loss_of: dict[int, float] = field(default_factory=dict)
    """Of every step, by its number in the run, as far as they have been read."""
    phases: list[Phase] = field(default_factory=list)
    objectives: list[dict[str, Any]] = field(default_factory=list)
    """Of each stage that has one: what its method optimizes, before and after."""
    pending: list[Callable[[], None]] = field(default_factory=list)
    """Objectives still to be measured: what was trained is saved first."""
    measures_objectives: bool = True
    speeds: list[tuple[float, float]] = field(default_factory=list)
    """Of each stage: tokens and seconds after its warm-up steps."""
    load_seconds: float = 0.0
    aside_seconds: float = 0.0
    memory: Memory = field(default_factory=Memory)
    held: Held = field(default_factory=Held)
    """Of the stage that held most."""
    micro: int | None = None
    """Rows that pass the model at once, where the suite left that to the memory."""
    trainable: int = 0
    """Most parameters that any stage trained."""
    _models: list[ref[Any]] = field(default_factory=list)
    _weighed: ref[Any] | None = None
    _unread: list[tuple[int, Tensor]] = field(default_factory=list)

    @property
    def losses(self) -> list[float]:
        """Of every step, in their order, as far as they have been read."""
        return list(self.loss_of.values())

    def settle(self) -> None:
        """Measure the objectives that are still pending, where somebody reads them."""
        while self.pending:
            measure = self.pending.pop(0)
            if self.measures_objectives:
                measure()

    def handed_out(self, model: PreTrainedModel) -> None:
        """Remember a model for as long as somebody has it."""
        self._models = [*(known for known in self._models if known() is not None), ref(model)]

    def models(self) -> list[PreTrainedModel]:
        """All that were handed out and that somebody has still, the latest last."""
        return [model for known in self._models if (model := known()) is not None]

    def weigh(self, optimizer: Optimizer) -> None:
        """After an optimizer's first step: what models, gradients and its state hold."""
        if self._weighed is None or self._weighed() is not optimizer:
            self._weighed = ref(optimizer)
            self.held = max(self.held, held(self.models(), optimizer), key=lambda one: one.total)

    def take_loss(self, step: int, loss: Tensor) -> None:
        """Take in the loss of a step. On a GPU it is read with those of the steps after it, so that
        no step waits for it; `Diverged` then comes up to `READ_EVERY` steps late.
        """
        self._unread.append((step, loss))
        if loss.device.type == "cpu" or len(self._unread) >= READ_EVERY:
            self.read_losses()

    def read_losses(self) -> None:
        """Read what is unread. Raises `Diverged` at the first loss that is no finite number."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        import torch

        values = torch.stack([loss for _, loss in unread]).cpu().tolist()  # one copy for all
        for (step, _), loss in zip(unread, values, strict=True):
            self.keep_loss(step, loss)

    def keep_loss(self, step: int, loss: float) -> None:
        """Take in the loss of a step as a number. Raises `Diverged` where it is not finite."""
        self.loss_of[step] = loss
        if not math.isfinite(loss):
            raise Diverged(f"the loss became {loss} at step {step}")

    def journal(self) -> list[dict[str, Any]]:
        """Learning rate and loss of at most 100 steps, by phase, as a record holds them."""
        return journal(self.phases, self.loss_of)
