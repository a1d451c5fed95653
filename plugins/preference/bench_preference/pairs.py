"""What methods on pairs have in common: one loop with a reference model, one without."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench import Format, LogRange, Method

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

    from .likelihood import Likelihoods

Rate = Annotated[
    float, LogRange(1e-7, 1e-2), Field(gt=0, description="peak learning rate of AdamW")
]


class Preference(Method):
    """Trains all parameters on which completions are better."""

    formats: ClassVar[tuple[Format, ...]] = (Format.PREFERENCE,)
    family: ClassVar = "preference"
    goal: ClassVar = ("reward_margin", "higher")

    lr: Rate = 1e-6


class PairMethod(Preference):
    """Trains all parameters on chosen and rejected completions, by what the model alone says of
    them.
    """

    @abstractmethod
    def loss(self, chosen: Likelihoods, rejected: Likelihoods) -> Tensor:
        """Loss of each pair, of shape (pairs,)."""

    @abstractmethod
    def reward(self, completions: Likelihoods) -> Tensor:
        """What the method takes as the reward of completions, of shape (completions,)."""

    def train(self, session: Session) -> PreTrainedModel:
        from .likelihood import paired

        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        for rows in session.rows(Format.PREFERENCE):
            session.learn(optimizer, rows, lambda part: self.loss(*paired(model, session, part)))
        return model

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """How far, and how often, the reward of what was chosen is above that of what was rejected;
        and the mean loss.
        """
        from .likelihood import outcome, paired

        pairs = [paired(model, session, rows) for rows in session.rows(Format.PREFERENCE)]
        losses = [float(loss) for chosen, rejected in pairs for loss in self.loss(chosen, rejected)]
        rewards = [(self.reward(chosen), self.reward(rejected)) for chosen, rejected in pairs]
        return outcome(rewards) | {"loss": sum(losses) / max(1, len(losses))}


class ReferenceMethod(Preference):
    """Trains all parameters on chosen and rejected completions, by how much more likely they are
    than under the start model.
    """

    @property
    @abstractmethod
    def scale(self) -> float:
        """The implicit reward of a completion is so many times its log-ratio."""

    @abstractmethod
    def loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """Loss of each pair from the log-ratios of its completions; all have the shape (pairs,)."""

    def train(self, session: Session) -> PreTrainedModel:
        model, reference = session.model(), session.reference()
        optimizer = session.optimizer(model, self.lr)
        for rows in session.rows(Format.PREFERENCE):
            session.learn(optimizer, rows, partial(self.losses, model, reference, session))
        return model

    def losses(
        self, model: Any, reference: Any, session: Session, rows: dict[str, list[Any]]
    ) -> Tensor:
        """Loss of each pair of preference rows, of shape (pairs,)."""
        from .likelihood import paired_log_ratios

        return self.loss(*paired_log_ratios(model, reference, session, rows))

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """How far, and how often, the implicit reward of what was chosen is above that of what was
        rejected.
        """
        from .likelihood import outcome, paired_log_ratios

        reference = session.reference()
        pairs = [
            paired_log_ratios(model, reference, session, rows)
            for rows in session.rows(Format.PREFERENCE)
        ]
        return outcome([(self.scale * chosen, self.scale * rejected) for chosen, rejected in pairs])
