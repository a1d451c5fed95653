"""Sequence likelihood calibration: on human pairs as they are, or on ranked samples of the start
model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench import LogRange

from .match import Match
from .pairs import LikelihoodRate, PairMethod
from .sampled import Sampling

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

    from .candidates import Scored
    from .likelihood import Likelihoods


class SLiCHFDirect(PairMethod):
    """Keeps chosen above rejected by a margin of log-probability, and stays near the chosen
    completions; on human pairs as they are.
    """

    goal: ClassVar = ("loss", "lower")  # beyond the margin the loss ends
    reference: ClassVar = (
        "Zhao et al. 2023, SLiC-HF: sequence likelihood calibration with human feedback,"
        " 2305.10425, eq. 1 (direct)"
    )
    verified: ClassVar = "golden; no gradient beyond the margin; equals TRL's hinge with a mean NLL"

    lr: LikelihoodRate = 1e-5  # Zhao et al. 2023, for T5-large

    delta: Annotated[
        float, LogRange(0.1, 10.0), Field(ge=0, description="margin δ of log-probability")
    ] = 1.0
    lam: Annotated[
        float, LogRange(1e-2, 1.0), Field(ge=0, description="weight λ of the regularisation")
    ] = 0.1

    def loss(self, chosen: Likelihoods, rejected: Likelihoods) -> Tensor:
        from . import losses

        return losses.slic(chosen.logp, rejected.logp, chosen.logp, self.delta, self.lam)

    def reward(self, completions: Likelihoods) -> Tensor:
        return completions.logp


class SLiCHF(Sampling, SLiCHFDirect):
    """Calibrates on samples of the start model, sorted by a ranker that was trained on the human
    pairs before, or by the task's reward.
    """

    reference: ClassVar = (
        "Zhao et al. 2023, SLiC-HF: sequence likelihood calibration with human feedback,"
        " 2305.10425, §2 (sample-rank)"
    )
    verified: ClassVar = (
        "golden; no gradient beyond the margin; tournament; each phase keeps to its share; no"
        " sample is scored twice"
    )

    lr: LikelihoodRate = 1e-5  # Zhao et al. 2023, for T5-large

    def played(self, scored: Scored) -> list[tuple[str, str]]:
        """A tournament: one match fewer than there are samples."""
        from .candidates import tournament

        return tournament(scored.scores)

    def losses_of(
        self, policy: Any, reference: Any, session: Session, matches: list[Match]
    ) -> Tensor:
        from . import losses
        from .likelihood import likelihoods

        completions = (
            [match.winner for match in matches]
            + [match.loser for match in matches]
            + [match.best for match in matches]
        )
        prompts = [match.prompt for match in matches] * 3
        winners, losers, best = likelihoods(policy, session, prompts, completions).logp.split(
            len(matches)
        )
        return losses.slic(winners, losers, best, self.delta, self.lam)

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """The loss of matches among samples of the start, as the ranker decides them; the rest on
        human pairs, where a ranker learned from them.
        """
        losses = [
            loss
            for matches in self.looked_at(session)
            for loss in self.losses_of(model, None, session, matches).tolist()
        ]
        of_pairs = SLiCHFDirect.objective(self, session, model) if self.rank_by == "model" else {}
        return of_pairs | {"loss": sum(losses) / max(1, len(losses))}
