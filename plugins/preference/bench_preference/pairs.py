"""What methods on pairs have in common: one loop with a reference model, one without."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench import Adaptable, Format, LogRange

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

    from .likelihood import Likelihoods

# All methods here train all parameters. The ranges begin below what is published for models of 7
# to 13 billion parameters and end above what models of a million need: the embedded model learned
# best at 1e-5 to 1e-4 (contrastive losses) and at 3e-4 to 1e-3 (losses with a likelihood in them).
Rate = Annotated[
    float, LogRange(1e-7, 1e-3), Field(gt=0, description="peak learning rate of AdamW")
]
"""For losses that only compare completions: 3e-7 to 1e-6 in the search of Meng et al. 2024,
2405.14734, over DPO, IPO, KTO and SimPO; 5e-7 in Tülu 3, 2411.15124; 1e-6 in DPO, 2305.18290.
"""
LikelihoodRate = Annotated[
    float, LogRange(3e-7, 3e-3), Field(gt=0, description="peak learning rate of AdamW")
]
"""For losses that also contain the likelihood of a completion, as supervised fine-tuning does:
8e-6 for ORPO (2403.07691; 5e-6 in its authors' scripts), 1e-5 for SLiC-HF (2305.10425), 2e-5 for
RRHF (2304.05302).
"""


class Preference(Adaptable):
    """Trains all parameters on which completions are better."""

    formats: ClassVar[tuple[Format, ...]] = (Format.PREFERENCE,)
    family: ClassVar = "preference"
    goal: ClassVar = ("reward_margin", "higher")

    lr: Rate = 1e-6  # Rafailov et al. 2023, 2305.18290, app. B

    def policy(self, session: Session) -> PreTrainedModel:
        """The model to train, without dropout: noise in it would count as a preference."""
        from .dropout import disable_dropout

        return disable_dropout(session.model())


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

        model = self.policy(session)
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

    def weights(self, labelled: Tensor) -> Tensor:
        """What each token counts in the log-ratio of its completion; by default all count 1.

        `labelled` says which tokens belong to a completion: chosen completions first, then the
        rejected ones of the same pairs, of shape (2 * pairs, tokens), as are the weights.
        """
        return labelled.float()

    def train(self, session: Session) -> PreTrainedModel:
        model, reference = self.policy(session), session.reference()
        optimizer = session.optimizer(model, self.lr)
        for rows in session.rows(Format.PREFERENCE):
            session.learn(optimizer, rows, partial(self.losses, model, reference, session))
        return model

    def losses(
        self, model: Any, reference: Any, session: Session, rows: dict[str, list[Any]]
    ) -> Tensor:
        """Loss of each pair of preference rows, of shape (pairs,)."""
        from .likelihood import paired_log_ratios

        return self.loss(*paired_log_ratios(model, reference, session, rows, self.weights))

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """How far, and how often, the implicit reward of what was chosen is above that of what was
        rejected.
        """
        from .likelihood import outcome, paired_log_ratios

        reference = session.reference()
        pairs = [
            paired_log_ratios(model, reference, session, rows, self.weights)
            for rows in self.measured_on(session)
        ]
        return outcome([(self.scale * chosen, self.scale * rejected) for chosen, rejected in pairs])

    def measured_on(self, session: ValidationSession) -> Iterator[dict[str, list[Any]]]:
        """Preference rows that the objective looks at."""
        return session.rows(Format.PREFERENCE)
