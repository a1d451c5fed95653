"""Sequence likelihood calibration: on human pairs as they are, or on ranked samples of the start
model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

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
Rows = dict[str, list[Any]]
Ranker = Callable[[Rows, list[str]], list[float]]
"""From rows of prompts and a completion of each to their scores."""


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
    """Calibrates on samples of the start model, sorted by a ranker that was trained on the human
    pairs before, or by the task's reward.
    """

    reference: ClassVar = (
        "Zhao et al. 2023, SLiC-HF: sequence likelihood calibration with human feedback,"
        " 2305.10425, §2 (sample-rank)"
    )
    verified: ClassVar = (
        "golden; no gradient beyond the margin; tournament; the ranker learns within its share"
    )

    rank_by: Annotated[
        Literal["model", "reward"],
        Field(
            description=(
                "what sorts the samples: model is a ranker learned from preferences, reward the"
                " task's reward, which needs no preferences"
            ),
            exclude_if=lambda by: by == "model",  # ids from before it was a choice stay
        ),
    ] = "model"
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

    def needs(self) -> tuple[Format, ...]:
        return (Format.PROMPT_ONLY,) if self.rank_by == "reward" else self.formats

    def train(self, session: Session) -> PreTrainedModel:
        rank = self.ranker(session)
        model, sampler = session.model(), session.model("rollout").eval()
        optimizer = session.optimizer(model, self.lr)
        waiting: list[Calibration] = []
        for rows in session.rows(*self.needs()):
            for few in self.few_at_a_time(rows, session):
                waiting += self.matches(sampler, rank, session, few)
                if len(waiting) >= session.batch_size and session.progress < 1:
                    batch, waiting = waiting[: session.batch_size], waiting[session.batch_size :]
                    session.learn(
                        optimizer,
                        {"matches": batch},
                        lambda part: self.calibration_loss(model, session, part["matches"]),
                    )
        return model

    def ranker(self, session: Session) -> Ranker:
        """What sorts samples; a model is trained first."""
        from .ranker import scores, trained_ranker

        if self.rank_by == "reward":
            return lambda rows, completions: session.reward(rows, completions).tolist()
        ranker = trained_ranker(session, self.ranker_share, self.ranker_lr)
        ranker.save_pretrained(str(session.folder / RANKER))
        return partial(scores, ranker, session)

    def few_at_a_time(self, rows: Rows, session: Session) -> Iterator[Rows]:
        """As many prompts as make one batch of samples, while there is budget: a whole batch of
        them would overrun it by far.
        """
        size = max(1, session.batch_size // self.num_candidates)
        for first in range(0, len(rows["prompt"]), size):
            if session.progress >= 1:
                return
            yield {column: values[first : first + size] for column, values in rows.items()}

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """The loss of matches among samples of the start, as the ranker decides them; the rest on
        human pairs, where a ranker learned from them.
        """
        from .ranker import opened_ranker, scores

        learned = self.rank_by == "model"
        rank = (
            partial(scores, opened_ranker(session.folder / RANKER, session), session)
            if learned
            else self.ranker(session)
        )
        sampler, losses = session.reference(), []
        for rows in session.rows(*self.needs()):
            if matches := self.matches(sampler, rank, session, rows):
                losses += self.calibration_loss(model, session, matches).tolist()
        of_pairs = super().objective(session, model) if learned else {}
        return of_pairs | {"loss": sum(losses) / max(1, len(losses))}

    def matches(
        self, sampler: Any, rank: Ranker, session: Session, rows: Rows
    ) -> list[Calibration]:
        """Tournaments among the samples of each prompt: one pair fewer than there are different
        samples.
        """
        from .candidates import sample, tournament

        settings = {
            "temperature": self.temperature,
            "top_k": self.top_k,
            "max_new_tokens": self.max_new_tokens,
        }
        prompts = rows["prompt"]
        drawn = [sample(sampler, session, prompts, settings) for _ in range(self.num_candidates)]
        judged = [rank(rows, completions) for completions in drawn]
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
