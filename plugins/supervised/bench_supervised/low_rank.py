"""Supervised fine-tuning of all parameters whose optimizer keeps its state in a low-rank space."""

from __future__ import annotations

from abc import abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bench import Choice, Format, LogRange, Method, decoder_layers, token_losses

from . import Rate

if TYPE_CHECKING:
    from torch.nn import Parameter
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from bench import Session

Rank = Annotated[
    int,
    Choice((4, 8, 16, 64, 128, 256)),
    Field(gt=0, description="rank of the space that the optimizer's state lives in"),
]
Gap = Annotated[
    int,
    Choice((50, 100, 200, 500)),
    Field(gt=0, description="optimizer steps between two projections"),
]
Scaled = Annotated[
    Literal["channel", "tensor"],
    Choice(("channel", "tensor")),
    Field(description="channel, or tensor for APOLLO-Mini"),
]


class LowRankOptimizer(Method):
    """Trains all parameters on prompts and completions of the target, the matrices of the decoder
    layers with a low-rank optimizer.
    """

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    family: ClassVar = "supervised"
    package: ClassVar[str]
    """The package that provides the optimizer, by its name on PyPI."""

    lr: Rate

    @abstractmethod
    def optimizer(self, matrices: list[Parameter], rest: list[Parameter]) -> Optimizer:
        """The package's optimizer: low-rank for the matrices, Adam for the rest."""

    def skip(self, session: Session) -> str | None:
        if find_spec(self.package.replace("-", "_")) is None:
            return f"the package {self.package} is missing: pip install {self.package}"
        return None

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        matrices = [p for p in decoder_layers(model).parameters() if p.ndim == 2]
        projected = set(matrices)
        optimizer = self.optimizer(matrices, [p for p in model.parameters() if p not in projected])
        for batch in session.batches(Format.PROMPT_COMPLETION):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model


class GaLore(LowRankOptimizer):
    """Trains all parameters with Adam on gradients projected onto leading singular vectors."""

    reference: ClassVar = (
        "Zhao et al. 2024, GaLore, 2403.03507, Algorithm 2 (galore_torch.GaLoreAdamW)"
    )
    verified: ClassVar = "rank of the update"
    package: ClassVar = "galore-torch"

    # All three from the authors' fine-tuning of RoBERTa on GLUE (README of galore_torch): 3e-5 on
    # MRPC with rank 4 and α 4. Their other regime, pre-training from scratch, is 1e-2 with rank 128
    # and α 0.25.
    lr: Rate = 3e-5
    rank: Rank = 4
    update_proj_gap: Gap = 200
    scale: Annotated[
        float, LogRange(0.25, 8.0), Field(gt=0, description="α, factor on the projected update")
    ] = 4.0

    def optimizer(self, matrices: list[Parameter], rest: list[Parameter]) -> Optimizer:
        from galore_torch import GaLoreAdamW  # pyright: ignore[reportMissingImports]

        projection = {
            "rank": self.rank,
            "update_proj_gap": self.update_proj_gap,
            "scale": self.scale,
            "proj_type": "std",
        }
        groups = [{"params": rest}, {"params": matrices, **projection}]
        return GaLoreAdamW(groups, lr=self.lr, eps=1e-8, no_deprecation_warning=True)


class Apollo(LowRankOptimizer):
    """Trains all parameters with gradients scaled, by channel or as a whole, as Adam would in a
    random low-rank space.
    """

    reference: ClassVar = (
        "Zhu et al. 2024, APOLLO, 2412.05270, Algorithm 1 (apollo_torch.APOLLOAdamW)"
    )
    verified: ClassVar = "first step parallel to the gradient in each channel"
    package: ClassVar = "apollo-torch"

    lr: Rate = 2e-5
    # rank 1 with scale_type tensor and scale 128 is APOLLO-Mini
    rank: Annotated[
        int,
        Choice((1, 4, 8, 16, 64, 128, 256)),
        Field(gt=0, description="rank of the space that the optimizer's state lives in"),
    ] = 256
    update_proj_gap: Gap = 200
    scale: Annotated[
        float,
        LogRange(1.0, 256.0),
        Field(gt=0, description="updates are scaled by its square root"),
    ] = 1.0
    scale_type: Scaled = "channel"

    def optimizer(self, matrices: list[Parameter], rest: list[Parameter]) -> Optimizer:
        from apollo_torch import APOLLOAdamW  # pyright: ignore[reportMissingImports]

        settings = self.model_dump(include={"rank", "update_proj_gap", "scale", "scale_type"})
        groups = [
            {"params": rest},
            {"params": matrices, **settings, "proj": "random", "proj_type": "std"},
        ]
        return APOLLOAdamW(groups, lr=self.lr, eps=1e-8)
