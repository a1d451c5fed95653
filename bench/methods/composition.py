"""The recipes that ship: chains and merges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_validator

from bench.errors import Skipped
from bench.methods import registry
from bench.methods.entry import Resolved, resolve_merger
from bench.methods.method import Merger, Weights
from bench.methods.recipe import Recipe, apply

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from bench.methods.session import Session
    from bench.models.spec import ModelSpec


class Chain(Recipe):
    """One recipe after another: each starts from what the one before it made."""

    reference: ClassVar = "bench: stages in a row, as in Ouyang et al. 2022, 2203.02155, Figure 2"

    def train(self, session: Session) -> PreTrainedModel | PeftModel:
        model, start = None, session.start
        for number, (part, until) in enumerate(
            zip(self.parts, accumulate(self.shares()), strict=True)
        ):
            if model is not None:
                start = handed_on(model, session, f"handed-on-{number}")
            with session.stage(str(number), until, start) as stage:
                model = apply(part.name, part.method, stage)
                start = stage.start
        session.start = start
        assert model is not None
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
        from bench.models.load import load_model

        finished = []
        for number, (part, until) in enumerate(
            zip(self.parts, accumulate(self.shares()), strict=True)
        ):
            with session.stage(str(number), until) as stage:
                finished.append(
                    handed_on(apply(part.name, part.method, stage), session, f"part-{number}")
                )
        weights = [_weights(spec, session) for spec in (session.start, *finished)]
        if (
            len(
                {
                    tuple((name, tensor.shape) for name, tensor in part.items())
                    for part in weights[1:]
                }
            )
            > 1
        ):
            raise Skipped("the parts are models of different shapes, which cannot be merged")
        merged = load_model(finished[0], session.dtype, session.device)
        merged.load_state_dict(self._merger_made().merge(weights[0], weights[1:]))
        return merged

    def _merger_made(self) -> Merger:
        ((name, parameters),) = self.by.items()
        return registry.usable_merger(name).model_validate(parameters)


def _weights(spec: ModelSpec, session: Session) -> Weights:
    from bench.models.load import load_model

    return {
        name: tensor.float()
        for name, tensor in load_model(spec, session.dtype, session.device).state_dict().items()
    }


def handed_on(model: PreTrainedModel | PeftModel, session: Session, name: str) -> ModelSpec:
    """A trained model as the start of what follows: adapters become part of the weights; `Skipped`
    where they cannot.
    """
    from bench.models.artifact import CannotMerge, merge_adapter, save_model

    with session.unmetered():
        try:
            merged = merge_adapter(model)
        except CannotMerge as error:
            raise Skipped(str(error)) from error
        save_model(merged, session.folder / name, session.dtype)
    return session.start.moved(session.folder / name)


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
