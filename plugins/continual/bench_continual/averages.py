"""Averaging of weights: with the start model, or among several fine-tuned ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, Range

from .tuning import FineTuning

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session


class WiseFT(FineTuning):
    """Fine-tuning, and then a point on the line between the start model's weights and the tuned
    ones.
    """

    reference: ClassVar = (
        "Wortsman et al. 2021, Robust fine-tuning of zero-shot models, 2109.01903, eq. 1"
    )
    verified: ClassVar = "golden; α = 1 is sft; midpoint"

    alpha: Annotated[
        float,
        Range(0.1, 0.9),
        Field(ge=0, le=1, description="weight of the tuned model; 0 is the start"),
    ] = 0.5

    def train(self, session: Session) -> PreTrainedModel:
        from .mixing import set_weights, wise_ft

        model = super().train(session)
        start, tuned = session.reference().parameters(), model.parameters()
        set_weights(
            model, [wise_ft(old, new, self.alpha) for old, new in zip(start, tuned, strict=True)]
        )
        return model


class ModelSoup(FineTuning):
    """The mean of the weights of several fine-tuned models, which share the budget and see the data
    in different orders.
    """

    reference: ClassVar = "Wortsman et al. 2022, Model soups, 2203.05482, §2, uniform soup"
    verified: ClassVar = "equals the mean of ingredients made by hand"

    k: Annotated[
        int,
        Choice((2, 3, 4)),
        Field(gt=0, description="models in the soup, each trained on this part of the budget"),
    ] = 3

    def train(self, session: Session) -> PreTrainedModel:
        from .mixing import set_weights, soup

        weights = soup(self._ingredient(session, number).parameters() for number in range(self.k))
        model = session.model()
        set_weights(model, weights)
        return model

    def _ingredient(self, session: Session, number: int) -> PreTrainedModel:
        with session.stage(str(number), until=(number + 1) / self.k) as stage:
            return super().train(stage)
