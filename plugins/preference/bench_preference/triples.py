"""Learning from three completions of one prompt: the best, a better and a worse one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import Field

from bench import Format, LogRange

from .pairs import LikelihoodRate, Preference

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

    from .likelihood import Likelihoods


class Triple(NamedTuple):
    """Completions of one prompt, in falling order of their scores."""

    gold: str
    chosen: str
    rejected: str


class TPO(Preference):
    """Prefers the second best completion to the worst as CPO does, and fine-tunes on the best one;
    in one step, without a reference.
    """

    formats: ClassVar = (Format.RANKING,)
    goal: ClassVar = ("loss", "lower")
    reference: ClassVar = (
        "Saeidi et al. 2024, Triple preference optimization: achieving better alignment using a"
        " single step optimization, 2405.16681 (as trl.experimental.tpo)"
    )
    verified: ClassVar = "golden, gradients; equals TRL's; with two completions it is CPO"

    # The authors' rate for 7B and 8B, and TRL's default, is the lowest of this family's losses with
    # a likelihood in them.
    lr: LikelihoodRate = 5e-7
    beta: Annotated[
        float,
        LogRange(1e-3, 1.0),
        Field(gt=0, description="scale of the log-probabilities that are compared"),
    ] = 0.01
    alpha: Annotated[
        float,
        LogRange(0.1, 10.0),
        Field(ge=0, description="weight α of the likelihood of the best completion, per token"),
    ] = 1.0

    def train(self, session: Session) -> PreTrainedModel:
        model = self.policy(session)
        optimizer = session.optimizer(model, self.lr)
        for rows in session.rows(Format.RANKING):
            session.learn(optimizer, rows, partial(self.losses, model, session))
        return model

    def losses(self, model: Any, session: Session, rows: dict[str, list[Any]]) -> Tensor:
        """Loss of each row, of shape (rows,)."""
        return self.loss(*_said(model, session, rows))

    def loss(self, gold: Likelihoods, chosen: Likelihoods, rejected: Likelihoods) -> Tensor:
        """Loss of each triple, of shape (triples,)."""
        from . import losses

        return losses.cpo(chosen.logp, rejected.logp, self.beta) - self.alpha * gold.mean

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """How far, and how often, the chosen completion is more likely than the rejected one; and
        the mean loss.
        """
        from .likelihood import outcome

        said = [_said(model, session, rows) for rows in session.rows(Format.RANKING)]
        losses = [loss for triples in said for loss in self.loss(*triples).tolist()]
        rewards = [(chosen.logp, rejected.logp) for _, chosen, rejected in said]
        return outcome(rewards) | {"loss": sum(losses) / max(1, len(losses))}


def triple(completions: Sequence[str], scores: Sequence[float]) -> Triple:
    """The best, the second best and the worst completion.

    Where the second best is no better than the worst, the best takes its place, too: only a
    difference is a preference.
    """
    order = sorted(range(len(scores)), key=lambda number: -scores[number])
    gold, second, worst = order[0], order[1], order[-1]
    chosen = second if scores[second] > scores[worst] else gold
    return Triple(*(completions[number] for number in (gold, chosen, worst)))


def _said(model: Any, session: Session, rows: dict[str, list[Any]]) -> list[Likelihoods]:
    """What a model says of the gold, the chosen and the rejected completions of ranking rows."""
    from .likelihood import likelihoods

    triples = [triple(*row) for row in zip(rows["completions"], rows["scores"], strict=True)]
    gold, chosen, rejected = map(list, zip(*triples, strict=True))
    both = likelihoods(model, session, rows["prompt"] * 3, gold + chosen + rejected)
    return both.split(len(triples))
