"""Mergers that weigh the parts by what these do with the target's data, or learn how to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, Format, LogRange, Merger, Range

if TYPE_CHECKING:
    from torch import Tensor

    from bench import Session, Weights

Examples = Annotated[
    int,
    Choice((64, 128, 256, 512)),
    Field(gt=0, description="rows of the target that each part is measured on, at most"),
]


class Fisher(Merger):
    """The mean of all weights, each weighted by how much its part's predictions depend on it."""

    reference: ClassVar = (
        "Matena and Raffel 2021, Merging models with Fisher-weighted averaging, 2111.09832, eq. 5"
    )
    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    gather_share: ClassVar = 0.1

    examples: Examples = 128
    fisher_floor: Annotated[
        float,
        LogRange(1e-8, 1e-4),
        Field(gt=0, description="the least weight of anything: where all have it, a plain mean"),
    ] = 1e-6

    def gather(self, session: Session) -> Weights:
        from . import statistics

        return statistics.diagonal_fisher(session, self.formats[0], self.examples)

    def merge(
        self, start: Weights, parts: Sequence[Weights], gathered: Sequence[Weights] = ()
    ) -> Weights:
        from . import merging

        return {
            name: merging.fisher_mean(
                [part[name] for part in parts],
                [f[name] for f in gathered] or [part[name].new_zeros(()) for part in parts],
                self.fisher_floor,
            )
            for name in start
        }


class RegMean(Merger):
    """Linear layers whose outputs are nearest to those of all parts on the parts' own inputs; the
    mean of all other weights.
    """

    reference: ClassVar = (
        "Jin et al. 2022, Dataless knowledge fusion (RegMean), 2212.09849, eq. 2 and §4.2"
    )
    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    gather_share: ClassVar = 0.1

    examples: Examples = 128
    alpha: Annotated[
        float,
        Range(0.1, 1.0),
        Field(ge=0, le=1, description="α on what inputs have in common; 0 looks at each alone"),
    ] = 0.9

    def gather(self, session: Session) -> Weights:
        from . import statistics

        return statistics.input_grams(session, self.formats[0], self.examples)

    def merge(
        self, start: Weights, parts: Sequence[Weights], gathered: Sequence[Weights] = ()
    ) -> Weights:
        from . import merging

        def merged(name: str) -> Tensor:
            weights = [part[name] for part in parts]
            grams = [of[name] for of in gathered if name in of]
            if grams:
                return merging.regression_mean(weights, grams, self.alpha)
            turned = name + merging.TRANSPOSED
            grams = [of[turned] for of in gathered if turned in of]
            if grams:
                return merging.regression_mean([w.T for w in weights], grams, self.alpha).T
            return merging.mean(weights)

        return {name: merged(name) for name in parts[0]}


class LoraSoup(Merger):
    """The start plus, weight by weight, a mixture of what each part changed. The shares of the
    mixture are learned on the target's data when all parts are trained.
    """

    reference: ClassVar = "Prabhakar et al. 2024, LoRA Soups (CAT), 2410.13025, §3"
    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    learn_share: ClassVar = 0.1

    lr: Annotated[
        float,
        LogRange(1e-4, 1.0),
        Field(gt=0, description="peak learning rate of AdamW for the shares"),
    ] = 1e-2

    def learn(self, session: Session, start: Weights, parts: Sequence[Weights]) -> Weights:
        from . import soup

        return soup.learned(session, self.formats[0], start, parts, self.lr)

    def merge(
        self, start: Weights, parts: Sequence[Weights], learned: Weights | None = None
    ) -> Weights:
        import torch

        from . import merging, soup

        moved = merging.changes(start, parts)
        equal = torch.zeros(len(parts))
        return {
            name: start[name]
            + soup.mixture(
                torch.stack([change[name] for change in moved]), (learned or {}).get(name, equal)
            )
            for name in start
        }
