"""Arithmetic in the suite's precision, with float32 masters of everything that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any

from bench.system.ranks import is_sharded

if TYPE_CHECKING:
    import torch
    from torch.nn import Module, Parameter
    from transformers import PreTrainedModel


def compute_in(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Arithmetic in `dtype` with float32 masters of everything that trains, whoever builds the
    optimizer.

    Frozen weights stay in `dtype`. PEFT calls `forward` directly, so the wrapper replaces it rather
    than hooking the call; TRL's fused heads call the backbone and never the model's own `forward`,
    so the backbone has the wrapper too.
    """
    import torch

    if dtype == torch.float32:
        return
    for module in (model, model.base_model):
        # a copy of a model copies what this holds, and so computes with its own weights
        changed = partial(_forward_in, dtype, model, module.forward)
        module.forward = update_wrapper(changed, module.forward)  # pyright: ignore[reportAttributeAccessIssue]


def in_float32(parameters: Iterable[Parameter]) -> None:
    """Make each a float32 master, in place."""
    import torch

    for parameter in parameters:
        if parameter.dtype == torch.float32:
            continue
        if is_sharded(parameter):  # whose part has to change with it
            master = torch.nn.Parameter(parameter.detach().float(), parameter.requires_grad)
            torch.utils.swap_tensors(parameter, master)
        else:
            parameter.data = parameter.data.float()


def as_saved(model: Module, dtype: torch.dtype) -> Module:
    """The model with its weights in `dtype`, in place, but for those that transformers loads in
    float32 whatever it is asked for. Buffers stay: rotary positions are wrong where their
    frequencies have 16 bits.
    """
    import torch

    exact = getattr(model, "_keep_in_fp32_modules_strict", None) or ()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.is_floating_point() and any(part in name for part in exact):
            tensor.data = tensor.data.float()
        elif tensor.is_floating_point() and isinstance(tensor, torch.nn.Parameter):
            tensor.data = tensor.data.to(dtype)
    return model


def _forward_in(
    dtype: torch.dtype,
    model: PreTrainedModel,
    forward: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    import torch

    if torch.is_grad_enabled():
        in_float32(p for p in model.parameters() if p.requires_grad)
    with torch.autocast(model.device.type, dtype=dtype):
        return forward(*args, **kwargs)
