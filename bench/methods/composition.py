"""The recipes that ship: chains and merges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_validator

from bench.methods import registry
from bench.methods.artifact import next_start
from bench.methods.entry import Resolved, resolve_merger
from bench.methods.method import Merger, Weights
from bench.methods.recipe import Part, Recipe, apply, unmerged
from bench.models.start import Start, load_start
from bench.system.errors import Skipped

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench.methods.session import Session


class Chain(Recipe):
    """One recipe after another: each starts from what the one before it made."""

    reference: ClassVar = "bench: stages in a row, as in Ouyang et al. 2022, 2203.02155, Figure 2"

    def skip(self, session: Session) -> str | None:
        return _first_unmerged(self.parts[:-1]) or super().skip(session)

    def unmerged_end(self) -> str:
        return unmerged(self.parts[-1].method)

    def train(self, session: Session) -> Any:
        model, start = None, session.start
        shares = accumulate(self.shares())
        for number, (part, until) in enumerate(zip(self.parts, shares, strict=True)):
            if number:
                session.log.settle()
                start = next_start(session, model, f"merged-start-{number}")
                model = None  # it is saved, and the next one needs its place
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

    def skip(self, session: Session) -> str | None:
        merger = self._merger_made()
        missing = [f for f in merger.formats if f not in session.task.formats]
        if missing:
            (name,) = self.by
            return f"{name} reads {', '.join(missing)} data, which {session.task.name} lacks"
        return _first_unmerged(self.parts) or super().skip(session)

    def train(self, session: Session) -> PreTrainedModel:
        merger = self._merger_made()
        finished, gathered, begun = [], [], 0.0
        shares = accumulate(share * (1 - merger.learn_share) for share in self.shares())
        for number, (part, until) in enumerate(zip(self.parts, shares, strict=True)):
            kept = merger.gather_share * (until - begun)
            with session.stage(str(number), until - kept) as stage:
                model = apply(part.name, part.method, stage)
                session.log.settle()
                finished.append(next_start(stage, model, "merged"))
            if finished[-1].attached:
                raise Skipped("a part has modules of its own, which cannot be merged into weights")
            if merger.gather_share:
                with session.stage(f"{number}-gather", until, finished[-1]) as stage:
                    gathered.append(merger.gather(stage))
            begun = until
        tied, weights = _weights(session, (session.start, *finished))
        shapes = [{name: tensor.shape for name, tensor in part.items()} for part in weights[1:]]
        if any(other != shapes[0] for other in shapes):
            raise Skipped("the parts are models of different shapes, which cannot be merged")
        known: Any = {"gathered": gathered} if merger.gather_share else {}
        if merger.learn_share:
            with session.stage("learn", 1.0) as stage:
                known["learned"] = merger.learn(stage, weights[0], weights[1:])
        state = merger.merge(weights[0], weights[1:], **known)
        merged = _loaded(session, finished[0])
        merged.load_state_dict(state | {again: state[name] for again, name in tied.items()})
        return merged

    def _merger_made(self) -> Merger:
        ((name, parameters),) = self.by.items()
        return registry.usable_merger(name).model_validate(parameters)


def _first_unmerged(parts: Sequence[Part]) -> str | None:
    """Which of these parts cannot become part of the model's weights, and why; or None."""
    for part in parts:
        if reason := unmerged(part.method):
            return f"{part.name} cannot be merged into the model's weights: {reason}"
    return None


def _weights(session: Session, starts: Sequence[Start]) -> tuple[dict[str, str], Sequence[Weights]]:
    """Further names of tied tensors, each with the first name of its tensor; and the weights of
    every model, in which a tied tensor stands once.
    """
    found = [_once(_loaded(session, start)) for start in starts]
    if any(tied != found[0][0] for tied, _ in found):
        raise Skipped("the parts differ in which tensors are tied, so they cannot be merged")
    return found[0][0], [weights for _, weights in found]


def _loaded(session: Session, start: Start) -> PreTrainedModel:
    with session.loading():
        return load_start(start, session.dtype, session.device)


def _once(model: PreTrainedModel) -> tuple[dict[str, str], Weights]:
    first: dict[int, str] = {}
    tied, weights = {}, {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if (known := first.setdefault(id(tensor), name)) != name:
            tied[name] = known
        else:
            weights[name] = tensor.detach().cpu().float()
    return tied, weights


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
