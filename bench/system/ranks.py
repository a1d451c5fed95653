"""The processes that train one model together, one on each device: the ranks of torch.distributed.

Each does all that a single process would do, on the same data in the same order; what is computed
in parts is added up. A run on one device is a single process and has nobody to ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


@contextmanager
def joined(rank: int, count: int, device: str, meeting: Path) -> Iterator[None]:
    """In here this process is one of so many, which find each other by a file that none has made
    before.
    """
    if count == 1:
        yield
        return
    import torch
    import torch.distributed as dist

    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=count)
    try:
        yield
    finally:
        dist.destroy_process_group()


def count() -> int:
    """How many processes train together; 1 where nobody has joined."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """The rank of this process, from 0."""
    import torch.distributed as dist

    return dist.get_rank() if count() > 1 else 0


def add_up(values: Tensor) -> Tensor:
    """The sum over all ranks, in place; every rank must ask, in the same order."""
    import torch.distributed as dist

    if count() > 1:
        dist.all_reduce(values)
    return values


def total(value: float) -> float:
    """The sum of a number over all ranks; every rank must ask."""
    import torch

    if count() == 1:
        return value
    return float(add_up(torch.tensor(value, dtype=torch.float64, device=_device())))


def of_first(value: float) -> float:
    """What the first rank says, where clocks differ."""
    import torch
    import torch.distributed as dist

    if count() == 1:
        return value
    said = torch.tensor(value, dtype=torch.float64, device=_device())
    dist.broadcast(said, src=0)
    return float(said)


def is_sharded(tensor: Any) -> bool:
    """Whether this process holds only a part of a tensor."""
    return hasattr(tensor, "full_tensor")


def here(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # pyright: ignore


def by_kind(tensors: Iterable[T]) -> list[list[T]]:
    """Those that are whole and those that are sharded, as far as there are any: what works on many
    tensors at once needs them of one kind.
    """
    kinds: tuple[list[T], list[T]] = [], []
    for tensor in tensors:
        kinds[is_sharded(tensor)].append(tensor)
    return [some for some in kinds if some]


def _device() -> str:
    """Where a tensor must lie that ranks exchange."""
    import torch.distributed as dist

    return "cuda" if dist.get_backend() == "nccl" else "cpu"
