"""Layers whose weights are packed into fewer bits, as bitsandbytes does."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def layers(model: nn.Module) -> Iterator[nn.Linear]:
    """The linear layers that are held in fewer bits."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.is_floating_point():
            yield module


def parameters(model: nn.Module) -> int:
    """How many numbers a model is made of, packed ones too."""
    packed = {
        id(layer.weight): layer.in_features * layer.out_features - layer.weight.numel()
        for layer in layers(model)
    }
    return sum(p.numel() for p in model.parameters()) + sum(packed.values())
