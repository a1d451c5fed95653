"""Depth up-scaling: which layers go where, and the exact surgery on a model."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from bench import Skipped, decoder_layers

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def indices(n: int, m: int) -> list[int]:
    """Which of n layers stands at each place of the 2(n - m): all but the last m, then all but the
    first m (2312.15166, §2).
    """
    return [*range(n - m), *range(m, n)]


def upscale(model: PreTrainedModel, m: int | None) -> PreTrainedModel:
    """The model with its decoder layers repeated by `indices`, all its other weights as they were;
    it is changed in place.

    Every layer is a copy with weights of its own. m is n/4 where None. `Skipped` where the layers
    cannot be found, where the result would not be deeper, or where no configuration describes it.
    """
    layers = decoder_layers(model)
    n = len(layers)
    m = n // 4 if m is None else m
    if 2 * m >= n:
        raise Skipped(
            f"dropping m={m} of {n} layers from both copies makes no deeper model: m must be less"
            f" than {n / 2:g}"
        )
    order = indices(n, m)
    copies = nn.ModuleList(copy.deepcopy(layers[i]) for i in order)
    for number, layer in enumerate(copies):
        _renumber(layer, number)
    del layers[:]
    layers.extend(copies)
    _describe(model.config.get_text_config(), order)
    _demand_described(model)
    return model


def _renumber(layer: nn.Module, number: int) -> None:
    """Tell every part of a layer its new number, which is its place in the cache of keys and
    values.
    """
    for module in layer.modules():
        if hasattr(module, "layer_idx"):
            module.layer_idx = number  # pyright: ignore[reportArgumentType]


def _describe(config: PretrainedConfig, order: list[int]) -> None:
    """Make the configuration that of the deeper model: its number of layers, and every list that
    says what each layer is.
    """
    n = config.num_hidden_layers
    per_layer = {
        name: value
        for name, value in vars(config).items()
        if "layer" in name and isinstance(value, list) and len(value) == n
    }
    config.num_hidden_layers = len(order)
    for name, value in per_layer.items():
        setattr(config, name, [value[i] for i in order])


def _demand_described(model: PreTrainedModel) -> None:
    """Refuse a model that its own configuration would build otherwise, such as one whose first
    layers alone are dense.
    """
    with torch.device("meta"):
        rebuilt = type(model)(model.config)
    if _shapes(rebuilt) != _shapes(model):
        raise Skipped(
            f"the layers of {type(model).__name__} differ by their number, so repeated ones would"
            " not load again"
        )


def _shapes(model: PreTrainedModel) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}
