"""A model whose decoder layers are spread over the devices of all ranks (FSDP2).

Embeddings, norm and head stay whole on every device: methods look up, tie and resize them outside
of a model's forward pass. What a method adds to a model is whole too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.models.load import decoder_layers
from bench.system import ranks
from bench.system.ranks import here, is_sharded

if TYPE_CHECKING:
    import torch
    from torch import nn


def placed(load: Callable[[torch.device], Any], device: torch.device) -> Any:
    """A model on the device, or spread over those of all ranks: then it need not fit on one, and
    `load` is asked for it on the CPU. `Skipped` where its layers cannot be found.
    """
    import torch

    if ranks.count() == 1:
        return load(device)
    return _shard(load(torch.device("cpu")), device)


def _shard(model: Any, device: torch.device) -> Any:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (ranks.count(),))
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = decoder_layers(base)
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    _save_whole(model)
    return model.to(device)


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """In here every weight of a model that is spread over several GPUs is whole and on the CPU, to
    be looked at, changed or saved; no pass may be made. On one device nothing changes.
    """
    held = [
        (module, name, parameter)
        for module in model.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and is_sharded(parameter)
    ]
    if not held:
        yield
        return
    import torch

    device = held[0][2].device
    for module, name, parameter in held:
        gathered = parameter.detach().full_tensor().cpu()  # pyright: ignore
        module._parameters[name] = torch.nn.Parameter(gathered, parameter.requires_grad)
    kinds = [(module, type(module)) for module in model.modules() if _is_fsdp(module)]
    for module, kind in kinds:
        module.__class__ = kind.__mro__[2]  # the layer's own class, under the one that shards
    model.cpu()
    try:
        yield
    finally:
        for module, kind in kinds:
            module.__class__ = kind
        for module, name, parameter in held:
            _take_back(parameter, module._parameters[name])
            module._parameters[name] = parameter
        model.to(device)


def _take_back(parameter: Any, changed: Any) -> None:
    """Let every rank have its part of what was whole, frozen if that was frozen."""
    import torch
    from torch.distributed.tensor import distribute_tensor

    with torch.no_grad():
        given = changed.detach().to(parameter.device)
        parts = distribute_tensor(
            given, parameter.device_mesh, parameter.placements, src_data_rank=None
        )
        here(parameter).copy_(here(parts))
    parameter.requires_grad_(changed.requires_grad)


def _is_fsdp(module: nn.Module) -> bool:
    from torch.distributed.fsdp import FSDPModule

    return isinstance(module, FSDPModule)


def save_on_every_rank(model: Any) -> None:
    """Let `save_pretrained` write on every rank that calls it: each has folders of its own, and
    transformers would write on the first alone.
    """
    model.should_save_on_this_rank = bool


def _save_whole(model: Any) -> None:
    """Let `save_pretrained` write whole tensors, whoever calls it."""
    save_on_every_rank(model)
    save = model.save_pretrained

    def save_pretrained(*args: Any, **kwargs: Any) -> Any:
        with whole_weights(model):
            return save(*args, **kwargs)

    model.save_pretrained = save_pretrained
