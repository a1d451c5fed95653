"""Pairwise methods that need no reference model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import LogRange, Range

from .pairs import LikelihoodRate, PairMethod

if TYPE_CHECKING:
    from torch import Tensor

    from .likelihood import Likelihoods


class ORPO(PairMethod):
    """Supervised fine-tuning on the chosen completion, with a penalty on the odds of the rejected
    one.
    """

    reference: ClassVar = (
        "Hong et al. 2024, ORPO: monolithic preference optimization without reference model,"
        " 2403.07691, eq. 6"
    )
    verified: ClassVar = "golden, gradients; odds-ratio term equals TRL's"

    lr: LikelihoodRate = 8e-6  # Hong et al. 2024, for 7B; their scripts have 5e-6

    lam: Annotated[
        float, LogRange(1e-2, 1.0), Field(ge=0, description="weight λ of the odds-ratio loss")
    ] = 0.1

    def loss(self, chosen: Likelihoods, rejected: Likelihoods) -> Tensor:
        from . import losses

        return self.lam * losses.odds_ratio(chosen.mean, rejected.mean) - chosen.mean

    def reward(self, completions: Likelihoods) -> Tensor:
        from . import losses

        return losses.log_odds(completions.mean)


class SimPO(PairMethod):
    """Takes the mean log-probability of a completion as its reward, and asks for a margin between
    chosen and rejected.
    """

    reference: ClassVar = (
        "Meng et al. 2024, SimPO: simple preference optimization with a reference-free reward,"
        " 2405.14734, eq. 6"
    )
    verified: ClassVar = "golden, gradients; equals TRL's"

    beta: Annotated[float, Range(1.0, 10.0), Field(gt=0, description="scale of the reward")] = 2.0
    gamma: Annotated[
        float, Range(0.0, 5.0), Field(ge=0, description="margin that the chosen reward should keep")
    ] = 1.0

    def loss(self, chosen: Likelihoods, rejected: Likelihoods) -> Tensor:
        from . import losses

        return losses.simpo(chosen.mean, rejected.mean, self.beta, self.gamma)

    def reward(self, completions: Likelihoods) -> Tensor:
        return self.beta * completions.mean


class CPO(PairMethod):
    """The loss of DPO with a uniform reference, and the log-likelihood of the chosen completion
    beside it.
    """

    reference: ClassVar = (
        "Xu et al. 2024, Contrastive preference optimization, 2401.08417, eq. 3 and the term L_NLL"
    )
    verified: ClassVar = "golden, gradients; preference term equals TRL's"

    # Of all parameters by the authors' own recipe (ALMA, runs/parallel_ft.sh), whose loss the
    # likelihood here is; the paper trains CPO with LoRA alone, at 1e-4.
    lr: LikelihoodRate = 2e-5

    beta: Annotated[
        float,
        LogRange(1e-2, 1.0),
        Field(gt=0, description="scale of the log-probabilities that are compared"),
    ] = 0.1

    def loss(self, chosen: Likelihoods, rejected: Likelihoods) -> Tensor:
        from . import losses

        return losses.cpo(chosen.logp, rejected.logp, self.beta) - chosen.logp

    def reward(self, completions: Likelihoods) -> Tensor:
        return completions.logp
