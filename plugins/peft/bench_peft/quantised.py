"""LoRA on a base whose linear layers are rounded to four bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, whole_weights

from . import fitted
from .initialised import Rebased

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session

# fmt: off
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)
# fmt: on
"""Quantiles of a normal distribution, over the largest (QLoRA, appendix E)."""
BLOCK = 64
"""Entries of a weight that share one scale."""


def nf4(weight: Tensor) -> Tensor:
    """The weight rounded to four bits and back: in each block of entries, row by row, to the
    nearest of sixteen multiples of the largest.
    """
    import torch

    levels = torch.tensor(NF4, device=weight.device)
    flat = weight.float().flatten()
    blocks = torch.nn.functional.pad(flat, (0, -flat.numel() % BLOCK)).view(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    nearest = torch.bucketize(blocks / scale, (levels[1:] + levels[:-1]) / 2)
    return (levels[nearest] * scale).flatten()[: flat.numel()].view_as(weight).to(weight.dtype)


def loftq(weight: Tensor, rank: int, iterations: int) -> tuple[Tensor, Tensor, Tensor]:
    """A rounded weight of (out, in) and factors of (out, rank) and (rank, in) whose sum is near to
    the weight: rounding what the factors leave, and factoring what rounding leaves, in turns.
    """
    import torch

    full = weight.float()
    left, right = full.new_zeros(len(full), rank), full.new_zeros(rank, full.shape[1])
    rounded = full
    for _ in range(iterations):
        rounded = nf4(full - left @ right)
        directions, values, others = torch.linalg.svd(full - rounded, full_matrices=False)
        root = values[:rank].sqrt()
        left, right = directions[:, :rank] * root, root[:, None] * others[:rank]
    return rounded.to(weight.dtype), left, right


class QLora(Rebased):
    """LoRA on a base whose linear layers are rounded to 4-bit NormalFloat."""

    reference: ClassVar = "Dettmers et al. 2023, QLoRA, 2305.14314, §3, 4-bit NormalFloat"
    verified: ClassVar = "frozen base; reload; golden; levels are quantiles; equals bitsandbytes"

    def initial_config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        return self.lora_config()

    def initial(self, session: Session, start: PreTrainedModel) -> PeftModel:
        with whole_weights(start):
            for name in fitted.linear_modules(start):
                weight = start.get_submodule(name).get_parameter("weight")
                weight.data = nf4(weight.data)
        return super().initial(session, start)


class LoftQ(QLora):
    """QLoRA whose factors start from what rounding took away."""

    reference: ClassVar = "Li et al. 2023, LoftQ, 2310.08659, Algorithm 1"
    one_gpu: ClassVar = "it factors what rounding takes from each matrix"
    verified: ClassVar = "frozen base; reload; nearer to the weight than rounding alone"

    loftq_iter: Annotated[
        int, Choice((1, 5)), Field(gt=0, description="T, turns of rounding and factoring")
    ] = 5

    def initial(self, session: Session, start: PreTrainedModel) -> PeftModel:
        from peft.tuners.lora import LoraLayer

        full = {
            name: start.get_submodule(name).get_parameter("weight").detach().clone()
            for name in fitted.linear_modules(start)
        }
        model = super().initial(session, start)
        inside = model.get_base_model()
        for name, weight in full.items():
            layer = inside.get_submodule(name)
            if isinstance(layer, LoraLayer):
                turned = layer.fan_in_fan_out  # pyright: ignore[reportAttributeAccessIssue]
                given = weight.T if turned else weight
                rounded, left, right = loftq(given, self.r, self.loftq_iter)
                base = layer.get_base_layer().get_parameter("weight")
                base.data.copy_(rounded.T if turned else rounded)
                layer.lora_A["default"].get_parameter("weight").data.copy_(right)
                scaled = left / layer.scaling["default"]
                layer.lora_B["default"].get_parameter("weight").data.copy_(scaled)
        return model
