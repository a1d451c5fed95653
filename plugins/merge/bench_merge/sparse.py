"""Mergers that thin out what each part changed before they put it together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from bench import Merger, Range

if TYPE_CHECKING:
    from bench import Weights

Scale = Annotated[float, Range(0.3, 1.5), Field(gt=0, description="λ on the merged change")]
Seed = Annotated[int, Field(ge=0, description="seed of the draw")]


class Breadcrumbs(Merger):
    """The start plus the scaled sum of what each part changed, without the smallest and the largest
    changes of each tensor.
    """

    reference: ClassVar = "Davari and Belilovsky 2023, Model Breadcrumbs, 2312.06795, §3"

    beta: Annotated[
        float,
        Range(0.5, 0.95),
        Field(ge=0, lt=1, description="share of a tensor's changes that is dropped, the smallest"),
    ] = 0.85
    gamma: Annotated[
        float,
        Range(0.97, 1.0),
        Field(gt=0, le=1, description="share above which changes are dropped, the largest"),
    ] = 0.993
    scaling_coefficient: Annotated[
        float, Range(0.1, 1.0), Field(gt=0, description="α on the sum of what is left")
    ] = 0.3

    @model_validator(mode="after")
    def _something_is_left(self) -> Breadcrumbs:
        if self.beta >= self.gamma:
            raise ValueError(f"beta must be less than gamma, not {self.beta} and {self.gamma}")
        return self

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        from . import merging

        changes = merging.changes(start, parts)
        return {
            name: start[name]
            + self.scaling_coefficient
            * sum(merging.middle(change[name], self.beta, self.gamma) for change in changes)
            for name in start
        }


class DareTies(Merger):
    """As `dare`, but the mean is taken over those parts that agree on the sign, as `ties` does."""

    reference: ClassVar = (
        "Yu et al. 2023, Language models are super Mario (DARE), 2311.03099, §3.2, with the"
        " election of TIES, 2306.01708"
    )

    drop_rate: Annotated[
        float,
        Range(0.1, 0.99),
        Field(ge=0, lt=1, description="p, the chance that a single change is dropped"),
    ] = 0.9
    scaling_coefficient: Scale = 1.0
    seed: Seed = 0

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        from . import merging

        changes = merging.changes(start, parts)
        dropped = merging.drop_and_rescale(changes, self.drop_rate, self.seed)
        return merging.elected(start, dropped, self.scaling_coefficient)


class Della(Merger):
    """As `dare-ties`, but a change is the likelier to be dropped, the smaller it is in its row."""

    reference: ClassVar = "Deep et al. 2024, DELLA-Merging, 2406.11617, §3"

    drop_rate: Annotated[
        float,
        Range(0.3, 0.85),
        Field(gt=0, lt=1, description="p, the mean chance that a change is dropped"),
    ] = 0.7
    epsilon: Annotated[
        float,
        Range(0.05, 0.25),
        Field(
            ge=0,
            lt=1,
            description="ε, by how much that chance differs between smallest and largest",
        ),
    ] = 0.2
    scaling_coefficient: Scale = 1.0
    seed: Seed = 0

    @model_validator(mode="after")
    def _chances(self) -> Della:
        if not self.epsilon / 2 <= self.drop_rate < 1 - self.epsilon / 2:
            raise ValueError(
                f"drop_rate ± epsilon/2 must lie within 0 and 1, not {self.drop_rate} ±"
                f" {self.epsilon / 2}"
            )
        return self

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        from . import merging

        changes = merging.changes(start, parts)
        dropped = merging.drop_small_rather(changes, self.drop_rate, self.epsilon, self.seed)
        return merging.elected(start, dropped, self.scaling_coefficient)
