"""Group relative methods that sample several batches before they learn from the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, LogRange, Range

from .group_relative import GroupRelative

if TYPE_CHECKING:
    from torch import Tensor

    from .completions import Completions


class OffPolicy(GroupRelative):
    """Samples several batches at once and learns from one after the other."""

    num_mini_batches: Annotated[
        int,
        Choice((1, 4, 16)),
        Field(
            gt=0, description="batches of completions that are sampled before any is learned from"
        ),
    ] = 4

    @property
    def mini_batches(self) -> int:
        return self.num_mini_batches


class GSPO(OffPolicy):
    """Group sequence policy optimisation: one ratio of probabilities for the whole completion, not
    one for each token.
    """

    reference: ClassVar = "Zheng et al. 2025, GSPO, 2507.18071, eq. 5-7"
    verified: ClassVar = (
        "golden; loss and gradient equal TRL's, with ratios inside and outside the clip"
    )

    epsilon: Annotated[
        float,
        LogRange(1e-4, 0.1),
        Field(gt=0, lt=1, description="how far the ratio may fall below 1"),
    ] = 3e-4
    epsilon_high: Annotated[
        float, LogRange(1e-4, 0.1), Field(gt=0, description="how far the ratio may rise above 1")
    ] = 4e-4

    def token_losses(self, part: Completions, log_probs: Tensor) -> Tensor:
        from .losses import sequence_losses

        return sequence_losses(
            log_probs, part.old, part.advantages, part.mask, self.epsilon, self.epsilon_high
        )


class TokenLevel(OffPolicy):
    """Every token of a batch weighs the same; groups that teach nothing are sampled anew; long
    completions earn less. What DAPO introduced and CISPO took over.
    """

    dynamic_sampling: ClassVar = True

    soft_punish_cache: Annotated[
        float,
        Range(0.0, 0.5),
        Field(
            ge=0,
            le=1,
            description=(
                "last share of the longest completion's tokens over which the reward falls by 1; 0"
                " punishes no length"
            ),
        ),
    ] = 0.2

    def shaped(self, rewards: Tensor, lengths: Tensor, longest: int) -> Tensor:
        from trl.rewards.other_rewards import get_soft_overlong_punishment

        if not (cache := round(self.soft_punish_cache * longest)):
            return rewards
        punished = get_soft_overlong_punishment(longest, cache)
        said = [[0] * int(length) for length in lengths]  # it counts tokens, and reads none
        return rewards + rewards.new_tensor(punished(completion_ids=said))

    def aggregated(self, losses: Tensor, mask: Tensor) -> Tensor:
        return losses[mask.bool()]


class DAPO(TokenLevel):
    """Decoupled clip and dynamic sampling policy optimisation: GRPO with more room for a ratio to
    rise than to fall, groups that differ alone, a loss per token, and care for long completions.
    """

    reference: ClassVar = "Yu et al. 2025, DAPO, 2503.14476, eq. 8-13"
    verified: ClassVar = (
        "golden; loss, gradient and mask equal TRL's dapo; punishment is TRL's; only groups that"
        " differ are learned from"
    )

    epsilon: Annotated[
        float,
        Range(0.1, 0.3),
        Field(gt=0, lt=1, description="how far the ratio of probabilities may fall below 1"),
    ] = 0.2
    epsilon_high: Annotated[
        float, Range(0.1, 0.5), Field(gt=0, description="how far the ratio may rise above 1")
    ] = 0.28
    mask_truncated_completions: Annotated[
        bool, Field(description="learn nothing from completions that were cut off at their longest")
    ] = True

    def token_losses(self, part: Completions, log_probs: Tensor) -> Tensor:
        from .losses import policy_losses

        return policy_losses(
            log_probs, part.old, part.advantages[:, None], self.epsilon, self.epsilon_high
        )


class CISPO(TokenLevel):
    """Clipped importance sampling policy optimisation: the weight of a token's gradient is clipped,
    so no token loses its gradient, as those beyond the clip of GRPO do.
    """

    reference: ClassVar = "MiniMax 2025, MiniMax-M1, 2506.13585, eq. 4-5"
    verified: ClassVar = (
        "golden; loss and gradient equal TRL's cispo, with weights below and at the most"
    )

    epsilon_max: Annotated[
        float,
        LogRange(1.0, 10.0),
        Field(ge=1, description="largest weight of a token; it has no smallest"),
    ] = 5.0

    def token_losses(self, part: Completions, log_probs: Tensor) -> Tensor:
        from .losses import weighted_losses

        return weighted_losses(log_probs, part.old, part.advantages, self.epsilon_max)
