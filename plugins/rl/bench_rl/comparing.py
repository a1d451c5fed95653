"""What methods that compare completions of one prompt say: how many there are, what each earns, and
what its loss is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice

from .base import Reinforcement

if TYPE_CHECKING:
    from torch import Tensor

    from bench import Session

    from .completions import Completions

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


class Comparing(Reinforcement):
    """A completion is better or worse than others of the same prompt: how that is told, and what it
    means for the loss.
    """

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
