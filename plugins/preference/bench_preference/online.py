"""Preferences among samples of the policy itself, while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bench import Format, LogRange, Range

from .dpo import DPO
from .pairs import Rate

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

    from .candidates import Ranker, Rows
    from .match import Match

MOST_DRY = 64
"""Batches of prompts in a row without one preference: then there is nothing left to learn."""


class OnlineDPO(DPO):
    """DPO on two samples of the present policy for each prompt, judged by the task's reward, or by
    a reward model that is learned from preferences first.
    """

    formats: ClassVar = (Format.PROMPT_ONLY,)
    goal: ClassVar = ("reward", "higher")
    reference: ClassVar = (
        "Guo et al. 2024, Direct language model alignment from online AI feedback, 2402.04792,"
        " algorithm 1, with a reward in place of the annotator (as trl.experimental.online_dpo)"
    )
    verified: ClassVar = (
        "its loss is DPO's; first loss ln 2; the samples are the present policy's; all passes are"
        " charged by purpose"
    )

    lr: Rate = 5e-7  # TRL's default, of its recipes at 1B and 7B
    rank_by: Annotated[
        Literal["reward", "model"],
        Field(
            description=(
                "what judges the samples: reward is the task's reward, model a reward model learned"
                " from preferences"
            )
        ),
    ] = "reward"
    ranker_share: Annotated[
        float,
        Range(0.1, 0.5),
        Field(
            gt=0, lt=1, description="share of the budget for the reward model, if one is learned"
        ),
    ] = 0.2
    ranker_lr: Annotated[
        float,
        LogRange(1e-6, 1e-2),
        Field(gt=0, description="peak learning rate of AdamW for the reward model"),
    ] = 1e-5
    temperature: Annotated[
        float, Range(0.5, 1.2), Field(gt=0, description="temperature of the samples")
    ] = 0.9
    max_new_tokens: Annotated[int, Field(gt=0, description="longest sample")] = 32

    def needs(self) -> tuple[Format, ...]:
        return (Format.PREFERENCE,) if self.rank_by == "model" else self.formats

    def train(self, session: Session) -> PreTrainedModel:
        from .ranker import by_model, by_reward, trained_ranker
        from .sampled import columns

        ranker = None
        if self.rank_by == "model":
            ranker = trained_ranker(session, self.ranker_share, self.ranker_lr)
        with session.stage("policy", until=1.0) as stage:
            rank = by_reward(stage) if ranker is None else by_model(ranker, stage)
            model, reference = self.policy(stage), stage.reference()
            optimizer = stage.optimizer(model, self.lr)
            for matches in self.batches(model, rank, stage):
                stage.learn(
                    optimizer, columns(matches), partial(self.losses, model, reference, stage)
                )
        return model

    def batches(self, model: Any, rank: Ranker, session: Session) -> Iterator[list[Match]]:
        """Full batches of pairs of which one sample earns more, while there is budget.

        Pairs beyond a full batch are dropped: after the update they are those of an older policy.
        """
        waiting: list[Match] = []
        dry = 0
        for rows in session.rows(*self.needs()):
            found = self.matches(model.eval(), rank, session, rows)
            model.train()
            waiting += found
            dry = 0 if found else dry + 1
            if len(waiting) >= session.batch_size:
                yield waiting[: session.batch_size]
                waiting = []
            elif dry == MOST_DRY:
                return

    def matches(self, model: Any, rank: Ranker, session: Session, rows: Rows) -> list[Match]:
        """Two samples of each prompt, the better one first; none where they earn the same."""
        from .candidates import scored_samples
        from .match import Match

        drawn = scored_samples(model, rank, session, rows, 2, self.sampling)
        ordered = [
            (one.prompt, sorted(one.scores, key=one.scores.__getitem__, reverse=True))
            for one in drawn
            if len(set(one.scores.values())) > 1
        ]
        return [Match(prompt, winner, loser, winner) for prompt, (winner, loser) in ordered]

    @property
    def sampling(self) -> dict[str, Any]:
        """Plain sampling, as `GenerationConfig` has it."""
        return {
            "temperature": self.temperature,
            "top_k": 0,
            "max_new_tokens": self.max_new_tokens,
        }

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """What a sample earns on average, judged as in training."""
        from .candidates import sample
        from .ranker import look_up

        rank, earned = look_up(self.rank_by, session), []
        for rows in session.rows(*self.needs()):
            earned += rank(rows, sample(model, session, rows["prompt"], self.sampling))
        return {"reward": sum(earned) / max(1, len(earned))}
