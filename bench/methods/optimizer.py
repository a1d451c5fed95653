"""The optimizer of all methods that bring none of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bench.models.precision import in_float32
from bench.system.errors import Skipped
from bench.system.ranks import by_kind

if TYPE_CHECKING:
    import torch
    from torch.nn import Module
    from torch.optim import Optimizer

Optim = Literal["adamw", "adamw_8bit"]
"""As transformers' `optim`, but for the implementation."""
PLAIN: Optim = "adamw"


def optimizer_of(model: Module, lr: float, device: torch.device, optim: Optim) -> Optimizer:
    """See `Session.optimizer`."""
    from torch.optim import AdamW

    learning = [p for p in model.parameters() if p.requires_grad]
    in_float32(learning)
    groups = [{"params": some} for some in by_kind(learning)] or learning
    if optim != PLAIN:
        return _in_8_bits(model, groups, lr)
    fused = device.type == "cuda" or None
    return AdamW(groups, lr=lr, weight_decay=0.0, fused=fused)


def _in_8_bits(model: Module, groups: Any, lr: float) -> Optimizer:
    """AdamW with its state in 8 bits, block by block (Dettmers et al. 2022, 2110.02861). That of
    embeddings stays in 32, as in the paper, §2.3, and in transformers' trainer, and so does that
    of tensors under 4,096 entries.
    """
    from bitsandbytes.optim.adamw import AdamW8bit
    from bitsandbytes.optim.optimizer import GlobalOptimManager
    from torch import nn

    manager = GlobalOptimManager.get_instance()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            manager.override_config(module.weight, "optim_bits", 32)
    return AdamW8bit(groups, lr=lr, weight_decay=0.0)


def forget_others(optim: Optim) -> None:
    """bitsandbytes remembers for the whole process which parameters stay in 32 bits, by their place
    among an optimizer's: what a part of a recipe says must not hold for the next.
    """
    if optim == PLAIN:
        return
    from bitsandbytes.optim.optimizer import GlobalOptimManager

    GlobalOptimManager.get_instance().initialize()


def trainers_optim(optim: Optim, device: torch.device) -> str:
    """The same optimizer by the name that transformers' trainer has for it."""
    if optim != PLAIN:
        return optim
    return "adamw_torch_fused" if device.type == "cuda" else "adamw_torch"


def demand(optimizer: Optimizer, optim: Optim) -> None:
    """`Skipped` where a method steps another optimizer than the one that all rows should have."""
    if optim == PLAIN:
        return
    from bitsandbytes.optim.optimizer import Optimizer8bit

    if not isinstance(optimizer, Optimizer8bit):
        raise Skipped(f"it brings an optimizer of its own, and the suite asks for {optim}")
