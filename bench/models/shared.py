"""Weights that several models have in common: held once where they are frozen, or taken over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch

from bench.system.ranks import is_sharded

if TYPE_CHECKING:
    from torch import nn

OF_ADAPTERS = ".base_layer"
"""What PEFT puts into the name of a weight that has an adapter beside it."""


def share_frozen(model: nn.Module, others: Iterable[nn.Module]) -> None:
    """Let a model hold the frozen weights of others where its own are frozen and the same, so that
    a policy with an adapter and its reference need the memory of one.
    """
    known = {name: weight for other in others for _, _, name, weight in _frozen(other)}
    for module, key, name, weight in list(_frozen(model)):
        there = known.get(name)
        if there is not None and _same(weight, there):
            module._parameters[key] = there


@torch.no_grad()
def take_over(model: nn.Module, other: nn.Module) -> None:
    """Give a model all weights of another of the same start. One by one, as PyTorch cannot load a
    state that holds weights in four bits.
    """
    weights = other.state_dict()
    for name, weight in model.state_dict().items():
        weight.copy_(weights[name])


def _frozen(model: nn.Module) -> Iterator[tuple[nn.Module, str, str, nn.Parameter]]:
    """Every frozen weight that two can hold: its module, its key there, its name without adapters,
    itself. The first pass through a weight in 8 bits takes its scale, which a second would need.
    """
    for path, module in model.named_modules():
        for key, weight in module._parameters.items():
            if weight is None or weight.requires_grad or is_sharded(weight):
                continue
            if not hasattr(weight, "SCB"):
                yield module, key, f"{path}.{key}".replace(OF_ADAPTERS, ""), weight


def _same(one: nn.Parameter, other: nn.Parameter) -> bool:
    alike = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
    return alike and torch.equal(one, other)
