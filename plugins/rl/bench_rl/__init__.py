"""Reinforcement learning from a reward: a completion is sampled, earns something, and becomes more
or less likely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, Format, LogRange, Range

from .base import MiniBatches, Reinforcement
from .group_relative import GRPO, RLOO, DrGRPO
from .off_policy import CISPO, DAPO, GSPO

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session

__all__ = ["CISPO", "DAPO", "GRPO", "GSPO", "PPO", "RAFT", "RLOO", "DrGRPO", "RejectionSampling"]

Samples = Annotated[
    int, Choice((1, 4, 8, 16)), Field(gt=0, description="completions sampled for each prompt")
]


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


class RejectionSampling(Reinforcement):
    """Samples from the start, and trains the start on what is right and different, and on the
    original rows of the prompts that were sampled.
    """

    formats: ClassVar = (Format.PROMPT_ONLY, Format.PROMPT_COMPLETION)
    reference: ClassVar = (
        "Yuan et al. 2023, Scaling relationship on learning mathematical reasoning, 2308.01825,"
        " §3.3 (RFT)"
    )
    verified: ClassVar = (
        "original rows stay; duplicates; the first loss is the start's; share spent"
    )

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
    original_rows: Annotated[
        bool,
        Field(
            description=(
                "train on the original rows of the prompts, too, as the paper does; without them on"
                " the samples alone, which needs no prompt-completion data"
            ),
            exclude_if=lambda kept: kept,  # ids from before it was a choice stay
        ),
    ] = True

    def needs(self) -> tuple[Format, ...]:
        return self.formats if self.original_rows else (Format.PROMPT_ONLY,)

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
