"""Training with tensors that have a shape and a type and hold no numbers: what memory it would
take.

Integers and truth values are computed as ever, as they say which tokens are there. Real numbers
are not: what asks for one is told a made-up one.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.accounting.flops import head_widths

INDEXING = ("index", "index_put", "index_put_", "_unsafe_index")
COMPUTED = 1 << 22
"""Entries up to which integers are computed."""


class OutOfTime(Exception):
    """The pretended training took longer than it may."""


class Pretended(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given, kwargs = _tensors((args, kwargs)), kwargs or {}
        if all(_is_known(tensor) for tensor in given) and _gives_integers(func, given, kwargs):
            with unset_fake_temporarily():
                found = func(*args, **kwargs)
        else:
            found = of_unknown(func, args, kwargs, given)
        for tensor in _tensors(found):
            if tensor.device.type != "meta":  # what is to be loaded is not there yet
                self._take(tensor.untyped_storage())
        return found

    def _take(self, storage: torch.UntypedStorage) -> None:
        number = storage._cdata
        if number not in self._sizes:
            self._sizes[number] = storage.nbytes()
            self._alive += storage.nbytes()
            self.peak = max(self.peak, self._alive)
            weakref.finalize(storage, self._drop, number)

    def _drop(self, number: int) -> None:
        self._alive -= self._sizes.pop(number)


@contextmanager
def without_numbers(seconds: float) -> Iterator[Pretended]:
    """In here, models load, train and generate without numbers, for so many seconds at most; then
    the next forward pass raises `OutOfTime`. Not for two threads at once.
    """
    from transformers import GenerationMixin

    pretended, until = Pretended(), time.monotonic() + seconds

    def look(module: nn.Module, inputs: Any) -> None:
        if time.monotonic() > until:
            raise OutOfTime

    with ExitStack() as stack:
        stack.callback(register_module_forward_pre_hook(look).remove)
        stack.enter_context(patch.object(nn.Module, "_apply", applied))
        stack.enter_context(patch.object(GenerationMixin, "generate", generated))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(pretended)
        yield pretended


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _is_known(tensor: Tensor) -> bool:
    return not isinstance(tensor, FakeTensor) and tensor.numel() <= COMPUTED


def _gives_integers(func: Any, given: list[Tensor], kwargs: dict[str, Any]) -> bool:
    """Whether there are tensors to compute from, or new ones of integers are asked for."""
    if given:
        return True
    kind = kwargs.get("dtype")
    if kind is None:
        return func.__name__.split(".")[0] in ("arange", "randperm", "scalar_tensor")
    return not kind.is_floating_point


def of_unknown(func: Any, args: Any, kwargs: dict[str, Any], given: list[Tensor]) -> Any:
    """What an operation gives, of which only the shape is known."""
    match func.__name__.split(".")[0]:
        case "_local_scalar_dense":
            return 1.0 if given[0].is_floating_point() else 1
        case "equal":
            return True
        case "nonzero":
            return given[0].new_empty((given[0].numel(), given[0].dim()), dtype=torch.int64)
        case name if name in INDEXING:
            return func(args[0], _numbers(args[1]), *args[2:], **kwargs)
        case "masked_select":
            return args[0].new_empty(len(_numbers([args[1]])[0]))
        case _:
            return func(*args, **kwargs)


def _numbers(indices: Any) -> list[Any]:
    """Masks as the numbers that they stand for: those of a mask whose values are not known are as
    many as its entries.
    """
    found: list[Any] = []
    for index in indices:
        if not isinstance(index, Tensor) or index.dtype != torch.bool:
            found.append(index)
        elif _is_known(index):
            with unset_fake_temporarily():
                found += index.nonzero().unbind(1)
        else:
            found += [index.new_empty(index.numel(), dtype=torch.int64) for _ in index.shape]
    return found


def applied(module: nn.Module, change: Any, recurse: bool = True) -> nn.Module:
    """As `nn.Module._apply`, with new parameters: those without numbers cannot be swapped."""
    with torch.no_grad():
        for part in module.modules():
            for key, value in part._parameters.items():
                if value is not None and (new := change(value)) is not value:
                    part._parameters[key] = nn.Parameter(new.detach(), value.requires_grad)
            for key, value in part._buffers.items():
                part._buffers[key] = value if value is None else change(value)
    return module


@torch.no_grad()
def generated(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    generation_config: Any = None,
    **settings: Any,
) -> Tensor:
    """As long as it may be, and the keys and values that are kept meanwhile."""
    wanted = {**(generation_config.to_diff_dict() if generation_config else {}), **settings}
    rows = input_ids.repeat_interleave(wanted.get("num_return_sequences") or 1, 0)
    said = rows.new_zeros(len(rows), wanted["max_new_tokens"])
    ends = wanted.get("eos_token_id") or model.config.eos_token_id or 0
    said[:, -1:] = ends[0] if isinstance(ends, (list, tuple)) else ends
    whole = torch.cat([rows, said], 1)
    width = head_widths(model.config.get_text_config(), "num_key_value_heads")
    torch.empty(whole.numel() * 2 * width, dtype=model.dtype, device=input_ids.device)
    return whole
