"""DPO with another loss or another measure of a completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Range

from .dpo import DPO
from .pairs import Rate

if TYPE_CHECKING:
    from torch import Tensor


class RobustDPO(DPO):
    """DPO for noisy preferences: its loss is in expectation that of the true labels, where a known
    share of the labels is flipped.
    """

    reference: ClassVar = (
        "Chowdhury et al. 2024, Provably robust DPO: aligning language models with noisy feedback,"
        " 2403.00409, §3.1"
    )
    verified: ClassVar = (
        "golden; equals TRL's; unbiased under flipped labels; with no noise it is DPO"
    )

    label_smoothing: Annotated[
        float,
        Range(0.0, 0.4),
        Field(ge=0, lt=0.5, description="share ε of pairs whose label is taken to be flipped"),
    ] = 0.1

    def loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        from . import losses

        return losses.robust_dpo(chosen, rejected, self.beta, self.label_smoothing)


class DPONorm(DPO):
    """DPO on log-ratios per token, so that a longer completion has no larger reward for its length
    alone.
    """

    reference: ClassVar = (
        "Lambert et al. 2024, Tülu 3: pushing frontiers in open language model post-training,"
        " 2411.15124, eq. 6"
    )
    verified: ClassVar = "equals TRL's; with completions of one length n it is DPO with β/n"

    lr: Rate = 5e-7  # Tülu 3, 8B
    beta: Annotated[
        float,
        Range(1.0, 15.0),
        Field(gt=0, description="strength of the pull to the reference, for log-ratios per token"),
    ] = 5.0

    def weights(self, labelled: Tensor) -> Tensor:
        return labelled.float() / labelled.sum(1, keepdim=True).clamp(min=1)


class LDDPO(DPO):
    """DPO in which tokens beyond the length of the shorter completion of a pair count less."""

    reference: ClassVar = (
        "Liu et al. 2024, Length desensitization in direct preference optimization, 2409.06411,"
        " §3.2"
    )
    verified: ClassVar = "equals TRL's; α = 1 is DPO; α = 0 sees no token beyond the shorter one"

    lr: Rate = 5e-7  # as DPO at 8B in Tülu 3, 2411.15124
    ld_alpha: Annotated[
        float,
        Range(0.0, 1.0),
        Field(ge=0, le=1, description="weight α of tokens beyond the length that both share"),
    ] = 0.5

    def weights(self, labelled: Tensor) -> Tensor:
        place = labelled.cumsum(1)  # of a token in its completion, from 1
        chosen, rejected = labelled.sum(1).chunk(2)
        shared = chosen.minimum(rejected).repeat(2)[:, None]
        return labelled.float().where(place <= shared, self.ld_alpha * labelled.float())
