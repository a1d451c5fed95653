"""Supervised fine-tuning of all parameters with an optimizer other than AdamW."""

from __future__ import annotations

from abc import abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bench import Choice, Format, LogRange, Method, Range, decoder_layers, token_losses

from . import Rate

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from bench import Session


class OwnOptimizer(Method):
    """Trains all parameters on prompts and completions of the target."""

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    family: ClassVar = "supervised"

    lr: float

    @abstractmethod
    def optimizer(self, session: Session, model: PreTrainedModel) -> Optimizer:
        """The optimizer of all parameters, in float32."""

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        optimizer = self.optimizer(session, model)
        for batch in session.batches(Format.PROMPT_COMPLETION):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        self.finish(optimizer)
        return model

    def finish(self, optimizer: Optimizer) -> None:
        """What is to be done when the budget is spent."""


class Muon(OwnOptimizer):
    """Trains the matrices of the decoder layers with orthogonalised momentum, all else with
    AdamW.
    """

    reference: ClassVar = (
        "Jordan et al. 2024, Muon, kellerjordan.github.io/posts/muon; Liu et al. 2025, 2502.16982,"
        " eq. 4 (torch.optim.Muon)"
    )
    one_gpu: ClassVar = "it makes the gradients of whole matrices orthogonal"
    verified: ClassVar = (
        "first step is the orthogonal factor of the gradient; the rest moves as under AdamW"
    )

    # With match_rms_adamw the rates are those of AdamW (2502.16982, §2.2).
    lr: Rate = 2e-5
    momentum: Annotated[
        float, Choice((0.9, 0.95)), Field(ge=0, lt=1, description="of the matrices, with Nesterov")
    ] = 0.95
    adjust_lr_fn: Annotated[
        Literal["match_rms_adamw", "original"],
        Field(
            description="factor on lr for a matrix of A × B: 0.2 √max(A, B), so that entries move"
            " as far as under AdamW, or Jordan's √max(1, A / B)"
        ),
    ] = "match_rms_adamw"

    def optimizer(self, session: Session, model: PreTrainedModel) -> Optimizer:
        from torch import optim

        from .together import together

        adamw = session.optimizer(model, self.lr)
        matrices = [p for p in decoder_layers(model).parameters() if p.ndim == 2]
        inside = set(matrices)
        rest = [p for p in adamw.param_groups[0]["params"] if p not in inside]
        adamw.param_groups[0]["params"] = rest
        muon = optim.Muon(
            matrices,
            lr=self.lr,
            weight_decay=0.0,
            momentum=self.momentum,
            adjust_lr_fn=self.adjust_lr_fn,
        )
        return together(muon, adamw)


class AdamMini(OwnOptimizer):
    """Trains all parameters with Adam that keeps one second moment for a block: a head, a neuron,
    a token.
    """

    reference: ClassVar = "Zhang et al. 2024, Adam-mini, 2406.16793, Algorithms 1 and 3"
    verified: ClassVar = (
        "golden; equals AdamW with one entry a block; blocks of heads, neurons and tokens"
    )

    # "We recommend using the same values as those used for AdamW" (the authors' package adam-mini).
    lr: Rate = 2e-5

    def optimizer(self, session: Session, model: PreTrainedModel) -> Optimizer:
        from .adam_mini import BlockwiseAdam, blocks

        session.optimizer(model, self.lr)  # makes all in float32
        return BlockwiseAdam([(p, blocks(model, name, p)) for name, p in named(model)], self.lr)


class ScheduleFree(OwnOptimizer):
    """Trains all parameters with AdamW at a constant learning rate, and gives the average of the
    weights on the way.
    """

    reference: ClassVar = (
        "Defazio et al. 2024, The road less scheduled, 2405.15682, Algorithm 1"
        " (schedulefree.AdamWScheduleFree)"
    )
    verified: ClassVar = "constant learning rate after warm-up; the result is the average"

    # "the optimal learning rate is 1 to 10 times larger than with a schedule" (the package's
    # README): five times that of sft
    lr: Annotated[
        float, LogRange(1e-5, 1e-1), Field(gt=0, description="learning rate after warm-up")
    ] = 1e-4
    beta: Annotated[
        float,
        Choice((0.9, 0.95, 0.98)),
        Field(gt=0, lt=1, description="how near to the average the gradient is taken"),
    ] = 0.9
    warm_up: Annotated[
        float,
        Range(0.0, 0.1),
        Field(ge=0, lt=1, description="share of the budget over which the learning rate rises"),
    ] = 0.05

    def skip(self, session: Session) -> str | None:
        if find_spec("schedulefree") is None:
            return "the package schedulefree is missing: pip install schedulefree"
        return None

    def optimizer(self, session: Session, model: PreTrainedModel) -> Optimizer:
        from schedulefree import AdamWScheduleFree  # pyright: ignore[reportMissingImports]

        adamw = session.optimizer(model, self.lr)  # makes all in float32
        optimizer = AdamWScheduleFree(
            adamw.param_groups[0]["params"], lr=self.lr, betas=(self.beta, 0.999)
        )
        optimizer.train()

        def keep_constant(*_: object) -> None:
            """Undo the session's schedule: this one has none but the warm-up."""
            rise = (session.progress + self.warm_up / 10) / self.warm_up if self.warm_up else 1.0
            for group in optimizer.param_groups:
                group["lr"] = self.lr * min(1.0, rise)

        optimizer.register_step_pre_hook(keep_constant)
        return optimizer

    def finish(self, optimizer: Optimizer) -> None:
        optimizer.eval()  # pyright: ignore[reportAttributeAccessIssue]


def named(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Everything that is trained, by name."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
