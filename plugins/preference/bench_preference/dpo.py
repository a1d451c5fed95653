"""Direct preference optimisation: once, and in stages."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, Format, LogRange

from .pairs import ReferenceMethod

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session

Beta = Annotated[
    float, LogRange(1e-2, 1.0), Field(gt=0, description="strength of the pull to the reference")
]


class DPO(ReferenceMethod):
    """Trains the policy as its own reward model, the reward being how much more likely a completion
    is than under the start model.
    """

    reference: ClassVar = "Rafailov et al. 2023, Direct preference optimization, 2305.18290, eq. 7"
    verified: ClassVar = (
        "golden; tokens, loss and steps equal TRL's; first loss ln 2; the reference is charged"
    )

    beta: Beta = 0.1

    @property
    def scale(self) -> float:
        return self.beta

    def loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        from . import losses

        return losses.dpo(chosen, rejected, self.beta)


class StepwiseDPO(DPO):
    """DPO in stages on new pairs; the model of one stage is the start and the reference of the
    next.
    """

    reference: ClassVar = "Kim et al. 2024, sDPO: don't use your data all at once, 2403.19270, §3"
    verified: ClassVar = (
        "first loss of each stage is ln 2; differs from DPO from the second stage on"
    )

    stages: Annotated[
        int,
        Choice((2, 3, 4)),
        Field(gt=1, description="stages, each with an equal share of the budget"),
    ] = 2

    def skip(self, session: Session) -> str | None:
        if self.adapter is None:
            return None
        return "its reference becomes what it trained, of which an adapter is only a part"

    def train(self, session: Session) -> PreTrainedModel:
        model, reference = self.policy(session), session.reference()
        optimizer, stage = session.optimizer(model, self.lr), 0
        for rows in session.rows(Format.PREFERENCE):
            if int(session.progress * self.stages) > stage:
                stage = int(session.progress * self.stages)
                reference.load_state_dict(model.state_dict())
                optimizer = session.optimizer(model, self.lr)
            session.learn(optimizer, rows, partial(self.losses, model, reference, session))
        return model
