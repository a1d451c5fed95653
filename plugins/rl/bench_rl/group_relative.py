"""Methods that compare completions of one prompt with one another, so that no critic is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, LogRange, Range

from .base import Reinforcement

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session

    from .groups import Completions

Generations = Annotated[
    int,
    Choice((2, 4, 8, 16)),
    Field(gt=1, description="completions of one prompt that are compared"),
]
Updates = Annotated[
    int, Choice((1, 2, 4)), Field(gt=0, description="updates on the same completions")
]
NoReference = Annotated[
    float, Field(ge=0, description="weight of the KL from the start in the loss; 0 as published")
]
"""Has no search range: the paper leaves the penalty out."""


class GroupRelative(Reinforcement):
    """A completion is better or worse than others of the same prompt."""

    dynamic_sampling: ClassVar[bool] = False
    """Whether groups that earn the same throughout are replaced by others."""
    splits_groups: ClassVar[bool] = True
    """Whether the loss of a completion needs no other completion of its group."""

    num_generations: Generations = 8
    mask_truncated_completions: Annotated[
        bool,
        Field(
            description="learn nothing from completions that were cut off at their longest",
            exclude_if=lambda masked: not masked,  # ids from before it was a choice stay
        ),
    ] = False
    beta: NoReference = 0.0

    @property
    def mini_batches(self) -> int:
        """Batches that are sampled before the first of them is learned from."""
        return 1

    @property
    def updates(self) -> int:
        """How often each batch is learned from."""
        return 1

    def skip(self, session: Session) -> str | None:
        if session.batch_size % self.num_generations:
            return (
                f"a batch of {session.batch_size} completions is not a whole number of groups of"
                f" num_generations = {self.num_generations}"
            )
        return super().skip(session)

    def train(self, session: Session) -> PreTrainedModel:
        from .groups import train

        return train(self, session)

    def shaped(self, rewards: Tensor, lengths: Tensor, longest: int) -> Tensor:
        """What completions of these lengths earn, (completions,), where none could be longer than
        `longest` tokens.
        """
        return rewards

    def advantages(self, rewards: Tensor) -> Tensor:
        """From rewards of (prompts, completions of one prompt) to advantages of that shape."""
        from .losses import group_advantages

        return group_advantages(rewards)

    def losses(self, part: Completions, log_probs: Tensor) -> Tensor:
        """Loss of each item of completions (of each completion, or of each token) whose tokens have
        these log-probabilities under the policy, (completions, tokens).
        """
        from .losses import k3

        losses = self.token_losses(part, log_probs)
        if part.ref is not None:
            losses = losses + self.beta * k3(log_probs, part.ref)
        return self.aggregated(losses, part.mask)

    def token_losses(self, part: Completions, log_probs: Tensor) -> Tensor:
        """Loss of each token without the penalty, (completions, tokens)."""
        raise NotImplementedError

    def aggregated(self, losses: Tensor, mask: Tensor) -> Tensor:
        """Losses of items from those of tokens, both of which a mask leaves out."""
        from .losses import per_completion

        return per_completion(losses, mask)


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
