"""Methods that compare completions of one prompt with one another, so that no critic is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import LogRange, Range

from .comparing import Comparing, Generations, NoReference, Updates

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session

    from .completions import Completions


class GroupRelative(Comparing):
    """Learns from groups of completions of one prompt each, so that no critic is needed."""

    def train(self, session: Session) -> PreTrainedModel:
        from .groups import train

        return train(self, session)


class GRPO(GroupRelative):
    """Group relative policy optimisation: a completion is better or worse than others of the same
    prompt, so no critic is needed.
    """

    reference: ClassVar = (
        "Shao et al. 2024, DeepSeekMath, 2402.03300, eq. 3-4 and §4.1.2 (outcome supervision)"
    )
    verified: ClassVar = "golden; loss and gradient equal TRL's with the paper's settings"

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
    num_iterations: Updates = 1

    @property
    def updates(self) -> int:
        return self.num_iterations

    def token_losses(self, part: Completions, log_probs: Tensor) -> Tensor:
        from .losses import policy_losses

        return policy_losses(log_probs, part.old, part.advantages[:, None], self.epsilon)


class DrGRPO(GRPO):
    """GRPO done right: without dividing by the length of a completion or by the deviation of its
    group, both of which bias GRPO.
    """

    reference: ClassVar = "Liu et al. 2025, Understanding R1-Zero-like training, 2503.20783, §3.2"
    verified: ClassVar = "golden; loss, gradient and advantages equal TRL's dr_grpo"

    beta: NoReference = 0.0

    def advantages(self, rewards: Tensor) -> Tensor:
        from .losses import centred

        return centred(rewards)

    def aggregated(self, losses: Tensor, mask: Tensor) -> Tensor:
        return (losses * mask).sum(1) / self.max_completion_length


class RLOO(GroupRelative):
    """REINFORCE whose baseline is the mean reward of the other completions of the same prompt."""

    reference: ClassVar = "Ahmadian et al. 2024, Back to basics, 2402.14740, §3.3"
    verified: ClassVar = "golden; advantages and gradient equal TRL's"
    splits_groups: ClassVar = False

    num_generations: Generations = 4
    beta: Annotated[
        float,
        LogRange(1e-3, 0.5),
        Field(ge=0, description="weight of the KL from the start in the reward"),
    ] = 0.03

    def advantages(self, rewards: Tensor) -> Tensor:
        from .losses import leave_one_out

        return leave_one_out(rewards)

    def losses(self, part: Completions, log_probs: Tensor) -> Tensor:
        from .losses import k1, reinforce_losses

        advantages = part.advantages
        if part.ref is not None:  # the baseline of a penalised reward is penalised, too
            moved = (k1(log_probs.detach(), part.ref) * part.mask).sum(1)
            advantages = (
                advantages
                - self.beta * self.advantages(moved.view(-1, self.num_generations)).flatten()
            )
        return reinforce_losses(log_probs * part.mask, advantages)
