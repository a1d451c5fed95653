"""Two optimizers that step as one."""

from __future__ import annotations

from inspect import unwrap

import torch
from torch.optim import Optimizer


def together(*optimizers: Optimizer) -> Optimizer:
    """One optimizer whose step is that of each, counted once."""
    return _Together(optimizers)


class _Together(Optimizer):
    def __init__(self, optimizers: tuple[Optimizer, ...]) -> None:
        self.optimizers = optimizers
        super().__init__([group for o in optimizers for group in o.param_groups], {})
        for number, group in enumerate(g for o in optimizers for g in o.param_groups):
            assert group is self.param_groups[number]  # a learning rate set here is set there
        for optimizer in optimizers:
            optimizer.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for optimizer in self.optimizers:
            unwrap(type(optimizer).step)(optimizer)  # whose own hooks would count a second step
