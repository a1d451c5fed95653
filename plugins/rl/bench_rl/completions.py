"""Completions of the policy, and what is known of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from .rollout import Rollout


class Completions(NamedTuple):
    """n completions of the policy of up to t tokens, those of one prompt in a row."""

    rollout: Rollout
    mask: Tensor
    """(n, t): 1 on the tokens that are learned from."""
    rewards: Tensor
    """(n,)"""
    advantages: Tensor
    """(n,)"""
    old: Tensor
    """(n, t): log-probabilities under the policy that sampled them; NaN until they are known."""
    ref: Tensor | None = None
    """(n, t): log-probabilities under the reference, where it has a weight."""

    def select(self, numbers: Tensor) -> Completions:
        """Some of the completions."""
        ref = None if self.ref is None else self.ref[numbers]
        return Completions(self.rollout.select(numbers), *(x[numbers] for x in self[1:5]), ref=ref)
