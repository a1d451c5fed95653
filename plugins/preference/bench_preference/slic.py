"""Sequence likelihood calibration: on human pairs as they are, or on ranked samples of the start
model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import Field

from bench import Choice, Format, LogRange, Range

from .pairs import PairMethod

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

    from .likelihood import Likelihoods

RANKER = "ranker"
"""Folder of the trained ranker."""


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


class Calibration(NamedTuple):
    """One match of a tournament among samples of one prompt."""

    prompt: str
    winner: str
    loser: str
    best: str
    """Who won the whole tournament: what the regularisation stays near."""


class SLiCHF(SLiCHFDirect):
    """Calibrates on samples of the start model, which a ranker sorts that was trained on the human
    pairs before.
    """

    reference: ClassVar = (
        "Zhao et al. 2023, SLiC-HF: sequence likelihood calibration with human feedback,"
        " 2305.10425, §2 (sample-rank)"
    )
    verified: ClassVar = (
        "golden; no gradient beyond the margin; tournament; the ranker learns within its share"
    )

    ranker_share: Annotated[
        float,
        Range(0.1, 0.5),
        Field(gt=0, lt=1, description="share of the budget for training the ranker"),
    ] = 0.25
    ranker_lr: Annotated[
        float,
        LogRange(1e-6, 1e-2),
        Field(gt=0, description="peak learning rate of AdamW for the ranker"),
    ] = 1e-5
    num_candidates: Annotated[
        int, Choice((4, 8)), Field(ge=2, description="samples m of each prompt")
    ] = 8
    temperature: Annotated[
        float, Range(0.5, 1.0), Field(gt=0, description="temperature of the samples")
    ] = 0.7
    top_k: Annotated[
        int,
        Choice((20, 40, 80)),
        Field(gt=0, description="most likely tokens that a sample may take next"),
    ] = 40
    max_new_tokens: Annotated[int, Field(gt=0, description="longest sample")] = 32

    def train(self, session: Session) -> PreTrainedModel:
        from .ranker import trained_ranker

        ranker = trained_ranker(session, self.ranker_share, self.ranker_lr)
        ranker.save_pretrained(str(session.folder / RANKER))
        model, sampler = session.model(), session.model("rollout").eval()
        optimizer = session.optimizer(model, self.lr)
        waiting: list[Calibration] = []
        for rows in session.rows(Format.PREFERENCE):
            for prompts in self.few_at_a_time(rows["prompt"], session):
                waiting += self.matches(sampler, ranker, session, prompts)
                if len(waiting) >= session.batch_size and session.progress < 1:
                    batch, waiting = waiting[: session.batch_size], waiting[session.batch_size :]
                    session.learn(
                        optimizer,
                        {"matches": batch},
                        lambda part: self.calibration_loss(model, session, part["matches"]),
                    )
        return model

    def few_at_a_time(self, prompts: list[str], session: Session) -> Iterator[list[str]]:
        """As many prompts as make one batch of samples, while there is budget: a whole batch of
        them would overrun it by far.
        """
        size = max(1, session.batch_size // self.num_candidates)
        for first in range(0, len(prompts), size):
            if session.progress >= 1:
                return
            yield prompts[first : first + size]

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """As on human pairs, but the loss is that of matches among samples of the start, as the
        trained ranker decides them.
        """
        from .ranker import opened_ranker

        sampler, ranker = session.reference(), opened_ranker(session.folder / RANKER, session)
        losses: list[float] = []
        for rows in session.rows(Format.PREFERENCE):
            if matches := self.matches(sampler, ranker, session, rows["prompt"]):
                losses += self.calibration_loss(model, session, matches).tolist()
        return super().objective(session, model) | {"loss": sum(losses) / max(1, len(losses))}

    def matches(
        self, sampler: Any, ranker: Any, session: Session, prompts: list[str]
    ) -> list[Calibration]:
        """Tournaments among the samples of each prompt: one pair fewer than there are different
        samples.
        """
        from .candidates import sample, tournament
        from .ranker import scores

        settings = {
            "temperature": self.temperature,
            "top_k": self.top_k,
            "max_new_tokens": self.max_new_tokens,
        }
        drawn = [sample(sampler, session, prompts, settings) for _ in range(self.num_candidates)]
        judged = [scores(ranker, session, prompts, completions) for completions in drawn]
        found = []
        for number, prompt in enumerate(prompts):
            different = {
                completions[number]: score[number]
                for completions, score in zip(drawn, judged, strict=True)
            }
            played = tournament(different)
            found += [Calibration(prompt, winner, loser, played[-1][0]) for winner, loser in played]
        return found

    def calibration_loss(self, model: Any, session: Session, matches: list[Calibration]) -> Tensor:
        """Loss of each match, of shape (matches,)."""
        from . import losses
        from .likelihood import likelihoods

        completions = (
            [match.winner for match in matches]
            + [match.loser for match in matches]
            + [match.best for match in matches]
        )
        logp = likelihoods(
            model, session, [match.prompt for match in matches] * 3, completions
        ).logp
        winners, losers, best = logp.split(len(matches))
        return losses.slic(winners, losers, best, self.delta, self.lam)
