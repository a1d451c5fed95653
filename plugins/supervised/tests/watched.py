"""A session that looks at the model before every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bench.accounting.budget import Budget
from bench.methods.session import Session
from bench.testing import tiny_session

STEPS = 6


class Watched(Session):
    """Lets a test look at the model after every step."""

    look: Callable[[PreTrainedModel], None]

    def model(self, purpose: str = "train") -> PreTrainedModel:
        self.handed_out = super().model(purpose)
        return self.handed_out

    def learn(self, optimizer: Any, batch: Any, loss_of: Callable[[Any], Tensor]) -> None:
        super().learn(optimizer, batch, loss_of)
        self.optimizer_seen = optimizer
        self.look(self.handed_out)


def watched(folder: Path, look: Callable[[PreTrainedModel], None], steps: int = STEPS) -> Watched:
    session = tiny_session(folder, Budget("steps", steps))
    session.close()
    given = {
        name: value
        for name, value in vars(session).items()
        if name not in ("_account", "_speed", "_phases", "_ordered", "judges")
    }
    watched = Watched(**given)
    watched.look = look
    return watched


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}
