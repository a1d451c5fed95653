"""A soup whose recipe is learned: how much of each part's change every weight takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench import Format, Session, token_losses

from . import merging

if TYPE_CHECKING:
    from bench import Weights


class Mixed(nn.Module):
    """W + Σ softmax(w)_i Δ_i in place of a weight W, the logits w alone being trained."""

    changes: Tensor
    """(parts, …), the weight's shape behind."""

    def __init__(self, changes: Sequence[Tensor], device: torch.device) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(len(changes), device=device))
        self.register_buffer("changes", torch.stack(list(changes)).to(device), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, in its own precision and shape."""
        return (weight.float() + mixture(self.changes, self.logits)).to(weight.dtype)


def mixture(changes: Tensor, logits: Tensor) -> Tensor:
    """Σ softmax(w)_i Δ_i for changes of (parts, …) and logits of (parts,) (Prabhakar et al. 2024,
    2410.13025, with the softmax of the authors' program).
    """
    return torch.tensordot(logits.softmax(0), changes, dims=1)


def learned(
    session: Session, format: Format, start: Weights, parts: Sequence[Weights], lr: float
) -> Weights:
    """Logits of (parts,) for every weight that a part changed, learned on the target's rows until
    the session's budget is spent. Everything else is frozen.
    """
    model = session.model().requires_grad_(False)
    moved = merging.changes(start, parts)
    mixed = {
        name: Mixed([change[name] for change in moved], session.device)
        for name in start
        if any(bool(change[name].any()) for change in moved)
    }
    first = {id(tensor): name for name, tensor in model.named_parameters()}
    for module in list(model.modules()):
        for own, tensor in list(module.named_parameters(recurse=False)):
            if (name := first[id(tensor)]) in mixed:  # a tied tensor is mixed wherever it stands
                parametrize.register_parametrization(module, own, mixed[name], unsafe=True)
    optimizer = session.optimizer(model, lr)
    for batch in session.batches(format):
        with parametrize.cached():
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
    return {name: one.logits.detach().cpu() for name, one in mixed.items()}
