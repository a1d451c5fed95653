"""Adam with one second moment for a block of entries (Adam-mini)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from transformers import PreTrainedModel

QUERIES, KEYS = ("q_proj", "query", "q_lin"), ("k_proj", "key", "k_lin")


class Blocks(NamedTuple):
    """How a parameter is cut into blocks of equal size."""

    number: int
    by_column: bool = False
    """Whether a block is some columns, rather than some rows."""

    def of(self, entries: Tensor) -> Tensor:
        """Entries as a view of (blocks, entries of a block)."""
        return (entries.T if self.by_column else entries).reshape(self.number, -1)


def blocks(model: PreTrainedModel, name: str, parameter: nn.Parameter) -> Blocks:
    """The blocks of one parameter (2406.16793, Algorithm 3): queries and keys by head, other
    matrices by output neuron, embedding and output head by token, all else as a whole.
    """
    if parameter.ndim < 2:
        return Blocks(1)
    module = model.get_submodule(name.rpartition(".")[0])
    if isinstance(module, Conv1D):  # GPT-2's kin, which keep the transpose
        return Blocks(parameter.shape[1], by_column=True)
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    kind = name.split(".")[-2]
    if kind in QUERIES:
        return Blocks(heads)
    if kind in KEYS:
        return Blocks(getattr(config, "num_key_value_heads", None) or heads)
    return Blocks(parameter.shape[0])


class BlockwiseAdam(Optimizer):
    """Adam whose second moment is that of the mean squared gradient of a block: `m / (√v̄ + ε)`."""

    def __init__(
        self,
        parameters: Sequence[tuple[nn.Parameter, Blocks]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.blocks = dict(parameters)
        super().__init__([p for p, _ in parameters], {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)

    def _step(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        cut, state = self.blocks[parameter], self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = gradient.new_zeros(cut.number)
        state["step"] += 1
        (beta1, beta2), mean, square = group["betas"], state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - beta1)
        square.lerp_(cut.of(gradient).square().mean(1), 1 - beta2)
        root = (square / (1 - beta2 ** state["step"])).sqrt() + group["eps"]
        rate = group["lr"] / (1 - beta1 ** state["step"]) / root
        update = cut.of(mean) * rate[:, None]
        shape = parameter.T.shape if cut.by_column else parameter.shape
        update = update.reshape(shape)
        parameter.sub_(update.T if cut.by_column else update)
