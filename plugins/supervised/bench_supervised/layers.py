"""Where a model keeps its decoder layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from bench import Skipped

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The list of the decoder's layers, as many as the configuration says; `Skipped` where there is none."""
    count = model.config.get_text_config().num_hidden_layers
    for child in model.get_decoder().children():
        if isinstance(child, nn.ModuleList) and len(child) == count:
            return child
    raise Skipped(f"the decoder layers of {type(model).__name__} cannot be found")
