"""Reinforcement learning from a reward: a completion is sampled, earns something, and becomes more
or less likely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bench import Choice, Format, LogRange, Method, Range

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

Reward = Annotated[
    Literal["check", "model"],
    Choice(("check", "model")),
    Field(
        description=(
            "what a completion earns: check is the task's reward, model the score of a reward model"
            " learned from preferences"
        )
    ),
]
Generations = Annotated[
    int,
    Choice((2, 4, 8, 16, 64)),
    Field(gt=1, description="completions of one prompt that are compared"),
]
Samples = Annotated[
    int, Choice((1, 4, 8, 16)), Field(gt=0, description="completions sampled for each prompt")
]
MiniBatches = Annotated[
    int,
    Choice((1, 2, 4)),
    Field(gt=0, description="batches of prompts that completions are sampled for at once"),
]


class Reinforcement(Method):
    """Learns from completions of its own and what they earn."""

    formats: ClassVar[tuple[Format, ...]] = (Format.PROMPT_ONLY,)
    family: ClassVar = "reinforcement"
    goal: ClassVar = ("reward", "higher")

    lr: Annotated[
        float, LogRange(1e-7, 1e-3), Field(gt=0, description="peak learning rate of AdamW")
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

        return sampled_reward(self, session, model)


class PPO(Reinforcement):
    """Proximal policy optimisation with a frozen reference and a critic; RLHF where its reward
    is a learned model.
    """

    reference: ClassVar = (
        "Ouyang et al. 2022, InstructGPT, 2203.02155, eq. 1-2; Schulman et al. 2017, PPO,"
        " 1707.06347, eq. 7"
    )
    verified: ClassVar = (
        "golden, gradients; advantages, returns and both losses equal TRL 1.12 on one frozen"
        " update; ratio 1 and KL 0 at first"
    )

    kl_coef: Annotated[
        float,
        LogRange(1e-3, 0.5),
        Field(ge=0, description="weight of the penalty on leaving the start, per token"),
    ] = 0.05
    num_ppo_epochs: Annotated[
        int,
        Choice((1, 2, 4)),
        Field(gt=0, description="passes over the completions before new ones are sampled"),
    ] = 4
    num_mini_batches: MiniBatches = 1
    gamma: Annotated[
        float,
        Range(0.9, 1.0),
        Field(gt=0, le=1, description="discount of a reward one token later"),
    ] = 1.0
    lam: Annotated[
        float,
        Range(0.9, 1.0),
        Field(ge=0, le=1, description="lambda of generalised advantage estimation"),
    ] = 0.95
    cliprange: Annotated[
        float,
        Range(0.1, 0.3),
        Field(gt=0, description="how far the ratio of probabilities may leave 1"),
    ] = 0.2
    cliprange_value: Annotated[
        float, Range(0.1, 0.3), Field(gt=0, description="how far a value may leave its old one")
    ] = 0.2
    vf_coef: Annotated[
        float, LogRange(0.05, 1.0), Field(ge=0, description="weight of the critic's loss")
    ] = 0.1

    def train(self, session: Session) -> PreTrainedModel:
        from .ppo import train

        return train(self, session)


class GRPO(Reinforcement):
    """Group relative policy optimisation: a completion is better or worse than others of the same
    prompt, so no critic is needed.
    """

    reference: ClassVar = (
        "Shao et al. 2024, DeepSeekMath, 2402.03300, eq. 3-4 and §4.1.2 (outcome supervision)"
    )
    verified: ClassVar = "golden; loss and gradient equal TRL's with the paper's settings"

    num_generations: Generations = 8
    beta: Annotated[
        float,
        LogRange(1e-3, 0.5),
        Field(ge=0, description="weight of the KL from the start in the loss"),
    ] = 0.04
    epsilon: Annotated[
        float,
        Range(0.1, 0.3),
        Field(gt=0, description="how far the ratio of probabilities may leave 1"),
    ] = 0.2
    num_iterations: Annotated[
        int, Choice((1, 2, 4)), Field(gt=0, description="updates on the same completions")
    ] = 1

    def skip(self, session: Session) -> str | None:
        return _uneven(session, self.num_generations) or super().skip(session)

    def train(self, session: Session) -> PreTrainedModel:
        from .groups import grpo

        return grpo(self, session)


class RLOO(Reinforcement):
    """REINFORCE whose baseline is the mean reward of the other completions of the same prompt."""

    reference: ClassVar = "Ahmadian et al. 2024, Back to basics, 2402.14740, §3.3"
    verified: ClassVar = "golden; advantages and gradient equal TRL's"

    num_generations: Generations = 4
    beta: Annotated[
        float,
        LogRange(1e-3, 0.5),
        Field(ge=0, description="weight of the KL from the start in the reward"),
    ] = 0.03

    def skip(self, session: Session) -> str | None:
        return _uneven(session, self.num_generations) or super().skip(session)

    def train(self, session: Session) -> PreTrainedModel:
        from .groups import rloo

        return rloo(self, session)


class RejectionSampling(Reinforcement):
    """Samples from the start, keeps what is right and different, and trains the start on that."""

    reference: ClassVar = (
        "Yuan et al. 2023, Scaling relationship on learning mathematical reasoning, 2308.01825,"
        " §3.3 (RFT)"
    )
    verified: ClassVar = "duplicates; the first loss is the start's; share spent"

    lr: Annotated[
        float, LogRange(1e-6, 1e-2), Field(gt=0, description="peak learning rate of AdamW")
    ] = 2e-5
    temperature: Annotated[
        float, Range(0.5, 1.5), Field(gt=0, description="sampling temperature")
    ] = 0.7
    num_samples: Samples = 8
    sampling_share: Annotated[
        float,
        Range(0.1, 0.9),
        Field(gt=0, lt=1, description="share of the budget that samples are made with"),
    ] = 0.5
    max_prompts: Annotated[
        int,
        Choice((256, 1024, 8192)),
        Field(gt=0, description="most prompts to sample for, where the budget would allow more"),
    ] = 1024

    def train(self, session: Session) -> PreTrainedModel:
        from .rejection import rejection_sampling

        return rejection_sampling(self, session)


class RAFT(Reinforcement):
    """In rounds, samples several completions of each prompt and trains on the best one."""

    reference: ClassVar = "Dong et al. 2023, RAFT, 2304.06767, Algorithm 1"
    verified: ClassVar = "arg-max; K = 1 keeps all; loss is the NLL of the samples"

    lr: Annotated[
        float, LogRange(1e-6, 1e-2), Field(gt=0, description="peak learning rate of AdamW")
    ] = 2e-5
    num_samples: Samples = 4
    num_mini_batches: MiniBatches = 1
    num_train_epochs: Annotated[
        int,
        Choice((1, 2, 4)),
        Field(gt=0, description="passes over the best completions of a round"),
    ] = 2

    def train(self, session: Session) -> PreTrainedModel:
        from .rejection import raft

        return raft(self, session)


def _uneven(session: Session, num_generations: int) -> str | None:
    if session.batch_size % num_generations:
        return (
            f"a batch of {session.batch_size} completions is not a whole number of groups of"
            f" num_generations = {num_generations}"
        )
    return None
