"""What methods have in common that learn from ranked samples of the start model: a ranker first,
then samples, then the policy, each with a share of the budget.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from bench import Choice, Format, LogRange, Range, Skipped

from .match import Match
from .pairs import Preference

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

    from .candidates import Rows, Scored

MOST_LOOKED_AT = 8
"""Samples of each prompt when a method's own objective is measured."""


class Sampling(Preference):
    """Trains all parameters on samples of the start model, sorted by a ranker that was trained on
    the human pairs before, or by the task's reward.
    """

    formats: ClassVar = (Format.PREFERENCE,)

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
        Range(0.1, 0.25),
        Field(gt=0, lt=1, description="share of the budget for training the ranker"),
    ] = 0.2
    ranker_lr: Annotated[
        float,
        LogRange(1e-6, 1e-2),
        Field(gt=0, description="peak learning rate of AdamW for the ranker"),
    ] = 1e-5
    sampling_share: Annotated[
        float,
        Range(0.1, 0.25),
        Field(
            gt=0,
            lt=1,
            description="share of the budget for samples and their scores; the policy has the rest",
        ),
    ] = 0.2
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
    max_prompts: Annotated[
        int,
        Field(gt=0, description="most prompts to sample for, where the budget would allow more"),
    ] = 1024

    @model_validator(mode="after")
    def _policy_has_a_share(self) -> Sampling:
        if self.sampling_ends >= 1:
            raise ValueError(
                f"ranker_share and sampling_share come to {self.sampling_ends:g}; the policy needs"
                " a share, too"
            )
        return self

    @property
    def sampling_ends(self) -> float:
        """Share of the budget after which the policy is trained."""
        return self.sampling_share + (self.ranker_share if self.rank_by == "model" else 0)

    def needs(self) -> tuple[Format, ...]:
        return (Format.PROMPT_ONLY,) if self.rank_by == "reward" else self.formats

    @abstractmethod
    def played(self, scored: Scored) -> list[tuple[str, str]]:
        """Winner and loser of each match among the samples of a prompt."""

    @abstractmethod
    def losses_of(self, policy: Any, reference: Any, session: Session, matches: Any) -> Tensor:
        """Loss of each match, of shape (matches,). `reference` is None where `has_reference` is
        false.
        """

    has_reference: ClassVar[bool] = False

    def train(self, session: Session) -> PreTrainedModel:
        from .candidates import endless

        matches = self.collected(session)
        if not matches:
            raise Skipped(
                "no two samples of a prompt differ in score, so there is nothing to prefer; sample"
                " more candidates, or at a higher temperature"
            )
        with session.stage("policy", until=1.0) as stage:
            model = self.policy(stage)
            reference = stage.reference() if self.has_reference else None
            optimizer = stage.optimizer(model, self.lr)
            batches = endless(matches, stage.batch_size)
            for _ in stage.rows(*self.needs()):  # they end with the budget, and are not looked at
                stage.learn(
                    optimizer,
                    {"matches": next(batches)},
                    lambda part: self.losses_of(model, reference, stage, part["matches"]),
                )
        return model

    def collected(self, session: Session) -> list[Match]:
        """All matches that the first phases of the budget give."""
        from .candidates import collected
        from .ranker import by_model, by_reward, trained_ranker

        ranker = None
        if self.rank_by == "model":
            ranker = trained_ranker(session, self.ranker_share, self.ranker_lr)
        with session.stage("samples", until=self.sampling_ends) as stage:
            if stage.progress >= 1:
                raise Skipped(
                    "training the ranker spent the share for samples too, as one batch of pairs has"
                    " more tokens than both: give a larger budget, or smaller batches"
                )
            rank = by_reward(stage) if ranker is None else by_model(ranker, stage)
            batches = islice(stage.rows(*self.needs()), -(-self.max_prompts // stage.batch_size))
            drawn = collected(rank, stage, batches, self.num_candidates, self.sampling)
            return [match for scored in drawn for match in self.matches(scored)]

    @property
    def sampling(self) -> dict[str, Any]:
        """How samples are drawn, as `GenerationConfig` has it."""
        return {
            "temperature": self.temperature,
            "top_k": self.top_k,
            "max_new_tokens": self.max_new_tokens,
        }

    def matches(self, scored: Scored) -> list[Match]:
        """Matches among the samples of a prompt. Samples that are the same are one, and those with
        the same score have no match.
        """
        scores = scored.scores
        best = max(scores, key=scores.__getitem__)
        return [
            Match(scored.prompt, winner, loser, best)
            for winner, loser in self.played(scored)
            if scores[winner] > scores[loser]
        ]

    def looked_at(self, session: ValidationSession) -> Iterator[list[Match]]:
        """Matches among samples of the start on validation rows, as the ranker decides them. The
        looks before and after training see the same: beside a trained ranker they are kept.
        """
        from .kept import keep, kept
        from .ranker import FOLDER

        if self.rank_by == "reward":
            yield from self.drawn(session)
            return
        file = session.folder / FOLDER / "matches.json"
        if not file.is_file():
            keep(file, self.drawn(session))
        yield from kept(file)

    def drawn(self, session: ValidationSession) -> Iterator[list[Match]]:
        """Batches of matches on validation rows."""
        from .candidates import scored_samples
        from .ranker import look_up

        rank, sampler = look_up(self.rank_by, session), session.reference()
        count = min(self.num_candidates, MOST_LOOKED_AT)
        for rows in session.rows(*self.needs()):
            drawn = scored_samples(sampler, rank, session, rows, count, self.sampling)
            if found := [match for scored in drawn for match in self.matches(scored)]:
                yield found


def columns(matches: list[Match]) -> Rows:
    """Matches as preference rows."""
    return {
        "prompt": [match.prompt for match in matches],
        "chosen": [match.winner for match in matches],
        "rejected": [match.loser for match in matches],
    }
