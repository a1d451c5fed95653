"""Preferences among samples that stand for the optimal policy, by statistical rejection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bench import Choice, LogRange, Range

from .match import Match
from .pairs import Rate, ReferenceMethod
from .sampled import Sampling, columns

if TYPE_CHECKING:
    from torch import Tensor

    from bench import Session, ValidationSession

    from .candidates import Rows, Scored


class RSO(Sampling, ReferenceMethod):
    """DPO, or its hinge, on pairs of the start's samples that were drawn anew so as to come from
    the policy that the ranker's scores make optimal.
    """

    goal: ClassVar = ("reward_margin", "higher")
    reference: ClassVar = (
        "Liu et al. 2023, Statistical rejection sampling improves preference optimization,"
        " 2309.06657, eq. 8, eq. 10 and algorithm 1"
    )
    verified: ClassVar = (
        "golden; both losses equal TRL's; acceptance against its exact probabilities; β → ∞ takes"
        " all, β → 0 the best"
    )
    has_reference: ClassVar = True

    lr: Rate = 1e-5  # Liu et al. 2023, §5, for T5-large
    beta: Annotated[
        float,
        LogRange(0.05, 5.0),
        Field(gt=0, description="how far the optimal policy may be from the start, in rewards"),
    ] = 0.5
    gamma: Annotated[
        float,
        LogRange(5e-3, 0.5),
        Field(gt=0, description="scale γ of the log-ratios in the loss"),
    ] = 0.05
    loss_type: Annotated[
        Literal["sigmoid", "hinge"],
        Field(description="loss on the log-ratios: sigmoid is DPO's, hinge ends at a margin 1/γ"),
    ] = "sigmoid"
    sampling_share: Annotated[
        float,
        Range(0.1, 0.3),
        Field(
            gt=0,
            lt=1,
            description="share of the budget for samples and their scores; the policy has the rest",
        ),
    ] = 0.3
    num_candidates: Annotated[
        int, Choice((16, 32, 64)), Field(ge=2, description="samples of each prompt")
    ] = 64
    num_accepted: Annotated[
        int,
        Field(ge=2, description="samples of a prompt that are drawn from among them, at most"),
    ] = 8

    @property
    def scale(self) -> float:
        return self.gamma

    def loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        from . import losses

        of = losses.dpo if self.loss_type == "sigmoid" else losses.hinge_norm
        return of(chosen, rejected, self.gamma)

    def played(self, scored: Scored) -> list[tuple[str, str]]:
        """Pairs of those that are accepted, each in one pair."""
        from .candidates import first_round, statistical_rejection

        accepted = statistical_rejection(scored.scores, self.num_accepted, self.beta)
        return first_round(accepted, scored.scores)

    def losses_of(
        self, policy: Any, reference: Any, session: Session, matches: list[Match]
    ) -> Tensor:
        return self.losses(policy, reference, session, columns(matches))

    def measured_on(self, session: ValidationSession) -> Iterator[Rows]:
        """Matches among samples of the start."""
        return map(columns, self.looked_at(session))
