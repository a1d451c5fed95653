"""What all methods of reinforcement learning share: their data, their reward, how they sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bench import Adaptable, Choice, Format, LogRange, Range

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

Reward = Annotated[
    Literal["check", "model"],
    Field(
        description=(
            "what a completion earns: check is the task's reward, model the score of a reward model"
            " learned from preferences"
        )
    ),
]
MiniBatches = Annotated[
    int,
    Choice((1, 2, 4)),
    Field(gt=0, description="batches of prompts that completions are sampled for at once"),
]


class Reinforcement(Adaptable):
    """Learns from completions of its own and what they earn."""

    formats: ClassVar[tuple[Format, ...]] = (Format.PROMPT_ONLY,)
    family: ClassVar = "reinforcement"
    goal: ClassVar = ("reward", "higher")

    # published for billions of parameters, see docs/methods.md; the tiny model needs 3e-4 to 1e-3
    lr: Annotated[
        float, LogRange(1e-7, 3e-3), Field(gt=0, description="peak learning rate of AdamW")
    ] = 1e-6
    reward: Reward = "check"
    reward_share: Annotated[
        float,
        Range(0.05, 0.5),
        Field(
            gt=0,
            lt=1,
            description="share of the budget that a learned reward model is trained with",
        ),
    ] = 0.2
    reward_lr: Annotated[
        float,
        LogRange(1e-6, 1e-2),
        Field(gt=0, description="peak learning rate of AdamW for a learned reward model"),
    ] = 1e-5
    temperature: Annotated[
        float, Range(0.5, 1.5), Field(gt=0, description="sampling temperature")
    ] = 1.0
    max_completion_length: Annotated[
        int,
        Choice((16, 64, 256, 1024)),
        Field(gt=0, description="most tokens of a completion, as far as max_length leaves room"),
    ] = 256

    def skip(self, session: Session) -> str | None:
        if self.reward == "model" and Format.PREFERENCE not in session.task.formats:
            return f"{session.task.name} has no {Format.PREFERENCE} data to learn a reward from"
        return None

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """Mean reward and KL from the start in nats per completion, on samples of the validation
        prompts.
        """
        from .measure import sampled_reward

        return sampled_reward(
            session,
            model,
            source=self.reward,
            temperature=self.temperature,
            max_completion_length=self.max_completion_length,
        )
