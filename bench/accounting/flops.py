"""Which matrix products a forward pass is made of, seen while it runs: adapters compute in ways
that no module tree tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

PRODUCTS = (
    "linear",
    "matmul",
    "__matmul__",
    "__rmatmul__",
    "mm",
    "bmm",
    "addmm",
    "baddbmm",
    "einsum",
    "grouped_mm",  # of each token with the weights of its expert
    "_grouped_mm",
    "grouped_mm_fallback",
)


@dataclass
class Rates:
    """FLOPs of the matrix products of one pass, its backward pass included as far as gradients are
    needed.
    """

    per_token: float = 0.0
    per_pass: float = 0.0
    """Of products that no token takes part in, such as that of an adapter's two factors."""


class Probe(TorchFunctionMode):
    """Counts the matrix products of a pass over so many positions, in so many rows; attention
    apart, which is charged by its lengths.

    A product of 2·m·n·k FLOPs costs as much again for each of its two factors that needs a
    gradient.
    """

    def __init__(self, positions: int, rows: int, weights: Iterable[Tensor]) -> None:
        super().__init__()
        self.rates = Rates()
        self._positions, self._rows = positions, rows
        self._aside = False
        self._without_tokens = WeakTensorKeyDictionary(dict.fromkeys(weights, True))
        """Tensors that are computed from weights and constants alone. Sizes do not tell them: an
        expert gets any number of tokens, and a weight may have as many rows as a batch."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        given = [*args, *(kwargs or {}).values()]
        if not self._aside and name in PRODUCTS and isinstance(result, Tensor):
            self._count(name, given, result)
        self._remember(given, args[:1] if name in ("__setitem__", "__set__") else [result])
        return result

    def _remember(self, given: Sequence[Any], made: Sequence[Any]) -> None:
        """Whether no token took part in what an operation made."""
        sources = _tensors(given)
        alone = all(self._has_no_token(tensor) for tensor in sources)
        for tensor in _tensors(made):
            if alone and (sources or tensor.is_floating_point()):  # new integers are positions
                self._without_tokens[tensor] = True
            else:
                self._without_tokens.pop(tensor, None)

    def _has_no_token(self, tensor: Tensor) -> bool:
        # shards become other parameters as soon as their layer is called
        return isinstance(tensor, nn.Parameter) or tensor in self._without_tokens

    def product(self, weight: int, inputs: Tensor) -> None:
        """Count a product with a frozen weight of so many entries, which is computed out of sight:
        nothing is counted until `resume`.
        """
        learning = torch.is_grad_enabled() and inputs.requires_grad
        tokens = inputs.shape[:-1].numel() / self._positions
        self.rates.per_token += 2.0 * weight * tokens * (1 + learning)
        self._aside = True

    def resume(self) -> None:
        self._aside = False

    def _count(self, name: str, args: list[Any], result: Tensor) -> None:
        equation = args[0] if name == "einsum" else None
        factors = _tensors(args)
        if len(factors) < 2:
            return
        one, other = factors[1:3] if name in ("addmm", "baddbmm") else factors[:2]
        if self._is_attention(one, other):
            return
        if equation:
            inner = _inner(equation, one, other)
        else:
            inner = one.shape[0 if name == "__rmatmul__" and one.dim() == 2 else -1]
        learned = torch.is_grad_enabled() * (one.requires_grad + other.requires_grad)
        flops = 2.0 * result.numel() * inner * (1 + learned)
        if self._has_no_token(one) and self._has_no_token(other):
            self.rates.per_pass += flops
        else:
            self.rates.per_token += flops / self._positions

    def _is_attention(self, one: Tensor, other: Tensor) -> bool:
        """Queries times keys, or weights times values, of each row and head."""
        return (
            one.dim() == other.dim() == 4
            and one.shape[:2] == other.shape[:2]
            and one.shape[0] == self._rows
        )


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among values and in the lists among them."""
    flat = [v for value in values for v in (value if isinstance(value, list | tuple) else [value])]
    return [value for value in flat if isinstance(value, Tensor)]


def uncompiled(model: nn.Module) -> AbstractContextManager[object]:
    """In here each operation of a model can be seen, even if its layers are compiled."""
    if all(module._compiled_call_impl is None for module in model.modules()):
        return nullcontext()  # the other way imports torch's compiler
    import torch.compiler

    return torch.compiler.set_stance("force_eager")


def head_widths(config: Any, kind: str = "num_attention_heads") -> int:
    """How wide the heads of a kind are together, in all layers, which may differ."""
    total = 0
    for layer in config.per_layer_config:
        queries = getattr(layer, "num_attention_heads", 0)  # none in a recurrent model
        width = getattr(layer, "head_dim", None) or layer.hidden_size // max(queries, 1)
        total += width * (getattr(layer, kind, None) or queries)
    return total


def _inner(equation: str, one: Tensor, other: Tensor) -> int:
    """Product of the sizes that an einsum sums over."""
    inputs, _, output = equation.replace(" ", "").replace("...", "").partition("->")
    first, _, second = inputs.partition(",")
    sizes = dict(zip(reversed(first), reversed(one.shape), strict=False)) | dict(
        zip(reversed(second), reversed(other.shape), strict=False)
    )
    return prod(size for letter, size in sizes.items() if letter not in output)
