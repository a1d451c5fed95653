"""Pairwise methods whose reward is measured against a frozen reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import LogRange

from .pairs import ReferenceMethod

if TYPE_CHECKING:
    from torch import Tensor


class IPO(ReferenceMethod):
    """Draws the difference of the log-ratios of chosen and rejected to a fixed margin, so that it
    cannot grow without end.
    """

    reference: ClassVar = (
        "Azar et al. 2023, A general theoretical paradigm to understand learning from human"
        " preferences, 2310.12036, eq. 17"
    )
    verified: ClassVar = "golden, gradients, minimum at its margin"

    tau: Annotated[
        float,
        LogRange(1e-2, 1.0),
        Field(gt=0, description="regularisation: the margin is 1/(2 tau)"),
    ] = 0.1

    @property
    def scale(self) -> float:
        return self.tau

    def loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        from . import losses

        return losses.ipo(chosen, rejected, self.tau)
