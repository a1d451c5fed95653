"""The recipes that ship: chains and merges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_validator

from bench.errors import Skipped
from bench.methods import registry
from bench.methods.artifact import next_start
from bench.methods.entry import Resolved, resolve_merger
from bench.methods.method import Merger, Weights
from bench.methods.recipe import Recipe, apply
from bench.models.start import Start, load_start

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench.methods.session import Session


class Chain(Recipe):
    """One recipe after another: each starts from what the one before it made."""

    reference: ClassVar = "bench: stages in a row, as in Ouyang et al. 2022, 2203.02155, Figure 2"

    def train(self, session: Session) -> Any:
        model, start = None, session.start
        shares = accumulate(self.shares())
        for number, (part, until) in enumerate(zip(self.parts, shares, strict=True)):
            if number:
                session.log.settle()
                start = next_start(session, model, f"merged-start-{number}")
            with session.stage(str(number), until, start) as stage:
                model = apply(part.name, part.method, stage)
            session.start, session.made_by = stage.start, stage.made_by
        return model


class Linear(Merger):
    """The weighted mean of all weights."""

    reference: ClassVar = (
        "Wortsman et al. 2022, Model soups, 2203.05482, eq. 1; Kim et al. 2023, SOLAR 10.7B,"
        " 2312.15166, §4.3"
    )

    weights: Annotated[
        tuple[float, ...], Field(description="one weight per part, summing to 1; equal when empty")
    ] = ()

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        shares = self.weights or (1 / len(parts),) * len(parts)
        if len(shares) != len(parts):
            raise Skipped(f"linear has {len(shares)} weights for {len(parts)} parts")
        weighted = list(zip(shares, parts, strict=True))
        return {
            name: sum(
                (share * part[name] for share, part in weighted[1:]),
                weighted[0][0] * parts[0][name],
            )
            for name in parts[0]
        }


class Merge(Recipe):
    """Recipes trained from the same start, their weights merged."""

    reference: ClassVar = "bench: each part on its share of the one budget, merged by a plugin"

    by: Annotated[
        dict[str, dict[str, Any]],
        Field(validate_default=True, description="how to merge: linear, or slerp: {t: 0.5}, …"),
    ] = {"linear": {}}

    @field_validator("by", mode="before")
    @classmethod
    def _merger(cls, value: Any) -> Any:
        """With the merger's defaults, so that a resolved suite asks for the same run."""
        name, parameters = resolve_merger(value)
        return {name: parameters}

    def train(self, session: Session) -> PreTrainedModel:
        finished = []
        for number, (part, until) in enumerate(
            zip(self.parts, accumulate(self.shares()), strict=True)
        ):
            with session.stage(str(number), until) as stage:
                model = apply(part.name, part.method, stage)
                session.log.settle()
                finished.append(next_start(stage, model, "merged"))
        if any(start.attached for start in finished):
            raise Skipped("a part has modules of its own, which cannot be merged into weights")
        weights = [_weights(start, session) for start in (session.start, *finished)]
        shapes = [{name: tensor.shape for name, tensor in part.items()} for part in weights[1:]]
        if any(other != shapes[0] for other in shapes):
            raise Skipped("the parts are models of different shapes, which cannot be merged")
        merged = load_start(finished[0], session.dtype, session.device)
        merged.load_state_dict(self._merger_made().merge(weights[0], weights[1:]))
        return merged

    def _merger_made(self) -> Merger:
        ((name, parameters),) = self.by.items()
        return registry.usable_merger(name).model_validate(parameters)


def _weights(start: Start, session: Session) -> Weights:
    loaded = load_start(start, session.dtype, session.device)
    return {name: tensor.cpu().float() for name, tensor in loaded.state_dict().items()}


def origins(recipe: Resolved) -> str:
    """Package and version of a recipe and of everything in it."""
    return ", ".join(dict.fromkeys(_origins(recipe)))


def _origins(recipe: Resolved) -> Iterator[str]:
    yield registry.find(recipe.name).origin
    if isinstance(recipe.usable, Recipe):
        for part in recipe.usable.parts:
            yield from _origins(part.recipe)
    if isinstance(recipe.usable, Merge):
        yield from (registry.find_merger(name).origin for name in recipe.usable.by)
