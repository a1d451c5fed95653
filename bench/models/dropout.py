"""Models that learn as they answer."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def without_dropout(model: M) -> M:
    """The same model, about to learn as it answers: in evaluation mode, for methods that compare
    what it says of one text over time, or with what another says.

    But what computes activations anew in the backward pass, as `checkpointing` of a suite asks, is
    in training mode, since transformers keeps them in any other. Its own rates are 0, then.
    """
    for module in model.eval().modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = True
            for name, value in list(vars(module).items()):
                if "drop" in name and isinstance(value, float):
                    setattr(module, name, 0.0)
    return model
