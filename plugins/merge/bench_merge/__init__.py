"""Surgery on weights without training: depth up-scaling of one model, and ways of making one model
of several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Merger, Method, Range, Skipped

from .informed import Fisher, LoraSoup, RegMean
from .sparse import Breadcrumbs, DareTies, Della

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session, Weights

__all__ = [
    "Breadcrumbs",
    "Dare",
    "DareTies",
    "Della",
    "DepthUpscale",
    "Fisher",
    "LoraSoup",
    "ModelStock",
    "RegMean",
    "Slerp",
    "TaskArithmetic",
    "Ties",
]


class DepthUpscale(Method):
    """Deepens the model from n to 2(n - m) layers by stacking two copies, without training."""

    formats: ClassVar = ()
    reference: ClassVar = "Kim et al. 2023, SOLAR 10.7B, 2312.15166, §2, Figure 1"
    verified: ClassVar = (
        "list of layers for n = 32, m = 8; exact reload on Llama, Mistral, Qwen2, Gemma 3, GPT-2"
    )
    family: ClassVar = "merging"
    one_gpu: ClassVar = "it copies decoder layers"

    m: Annotated[
        int | None,
        Field(
            ge=0,
            description=(
                "layers dropped at the seam: the last m of one copy, the first m of the other; n/4"
                " if unset"
            ),
        ),
    ] = None

    def train(self, session: Session) -> PreTrainedModel:
        from . import depth

        return depth.upscale(session.model(), self.m)


class Slerp(Merger):
    """Two models, merged on the great circle between them, tensor by tensor."""

    reference: ClassVar = (
        "Shoemake 1985, Animating rotation with quaternion curves; of weights as in mergekit and"
        " SOLAR, 2312.15166, §4.3"
    )

    t: Annotated[
        float,
        Range(0.0, 1.0),
        Field(ge=0, le=1, description="where between the first part (0) and the second (1)"),
    ] = 0.5

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        from . import merging

        if len(parts) != 2:
            raise Skipped(f"slerp merges two parts, not {len(parts)}")
        return {name: merging.slerp(parts[0][name], parts[1][name], self.t) for name in parts[0]}


class TaskArithmetic(Merger):
    """The start plus the scaled sum of what each part changed."""

    reference: ClassVar = "Ilharco et al. 2022, Editing models with task arithmetic, 2212.04089, §2"

    scaling_coefficient: Annotated[
        float, Range(0.1, 1.0), Field(gt=0, description="λ on the sum of all changes")
    ] = 0.4

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        from . import merging

        changes = merging.changes(start, parts)
        return {
            name: start[name] + self.scaling_coefficient * sum(change[name] for change in changes)
            for name in start
        }


class Ties(Merger):
    """The start plus the mean of each part's largest changes, over those parts that agree on the
    sign.
    """

    reference: ClassVar = "Yadav et al. 2023, TIES-Merging, 2306.01708, Algorithm 1"

    density: Annotated[
        float,
        Range(0.1, 1.0),
        Field(gt=0, le=1, description="share of a part's changes that is kept, the largest"),
    ] = 0.2
    scaling_coefficient: Annotated[
        float, Range(0.3, 1.5), Field(gt=0, description="λ on the merged change")
    ] = 1.0

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        from . import merging

        trimmed = [merging.trim(change, self.density) for change in merging.changes(start, parts)]
        return merging.elected(start, trimmed, self.scaling_coefficient)


class Dare(Merger):
    """The start plus the mean of what each part changed, of which a random share is dropped and the
    rest scaled up.
    """

    reference: ClassVar = "Yu et al. 2023, Language models are super Mario (DARE), 2311.03099, §3.2"

    drop_rate: Annotated[
        float,
        Range(0.1, 0.99),
        Field(ge=0, lt=1, description="p, the chance that a single change is dropped"),
    ] = 0.9
    seed: Annotated[int, Field(ge=0, description="seed of the draw")] = 0

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        from . import merging

        changes = merging.drop_and_rescale(merging.changes(start, parts), self.drop_rate, self.seed)
        return {
            name: start[name] + sum(change[name] for change in changes) / len(changes)
            for name in start
        }


class ModelStock(Merger):
    """A point between the start and the parts' mean: nearer to the mean, the more the parts'
    changes point the same way.
    """

    reference: ClassVar = "Jang et al. 2024, Model Stock, 2403.19522, eq. 6 and appendix B"

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        from . import merging

        if len(parts) < 2:
            raise Skipped(f"model-stock merges two parts or more, not {len(parts)}")
        changes = merging.changes(start, parts)
        return {
            name: start[name] + merging.stock([change[name] for change in changes])
            for name in start
        }
