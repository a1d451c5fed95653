"""How fast a method may learn at each moment of its budget, and when it has gone wrong: the same
for every method.
"""

from __future__ import annotations

from typing import Any

WARM_UP = 0.05  # share of the budget over which the learning rate rises
CLIP = 1.0  # largest norm of the gradient


class Diverged(RuntimeError):
    """The loss or a weight is no longer a finite number."""


def schedule(fraction: float) -> float:
    """Factor on the learning rate at a fraction of the budget: a short rise, then linear to zero
    (Li et al. 2020, 1905.04753).
    """
    return min(1.0, 0.1 + fraction / WARM_UP) * max(0.0, 1.0 - fraction)


def anneal(optimizer: Any, fraction: float) -> None:
    """Set the learning rate of every parameter group for this fraction of the budget."""
    for group in getattr(optimizer, "optimizer", optimizer).param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * schedule(fraction)
