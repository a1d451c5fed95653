"""Recipes: several methods as one, sharing one budget."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, model_serializer, model_validator

from bench.methods.adaptable import Adaptable
from bench.methods.entry import Resolved, entry, resolve
from bench.methods.method import Method
from bench.methods.optimizer import forget_others
from bench.system.errors import Skipped

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from bench.methods.session import Session, ValidationSession
    from bench.models.start import Start


class Part(BaseModel):
    """One recipe inside another, written as entries under `methods` are, with `share:` where parts
    should not be equal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: InstanceOf[Resolved]
    share: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _entry(cls, value: Any) -> Any:
        name, given, beside = entry(value)
        if "as" in beside:
            raise ValueError("a part has no name of its own: give as: to the whole recipe")
        return {"recipe": resolve(name, given), **beside}

    @model_serializer
    def _as_entry(self) -> dict[str, Any]:
        share = {} if self.share is None else {"share": self.share}
        return {self.name: self.recipe.parameters, **share}

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def method(self) -> Method:
        """The part as a method; `Skipped` where its plugin cannot be used."""
        return self.recipe.method

    @property
    def spends(self) -> bool:
        """Whether it learns from data, as far as is known."""
        return self.recipe.usable is None or learns(self.recipe.usable)


class Recipe(Method):
    """Several recipes as one."""

    formats: ClassVar = ()
    family: ClassVar = "recipe"
    full_precision: ClassVar = "what its parts learn becomes part of the weights"

    parts: Annotated[
        tuple[Part, ...],
        Field(description="recipes, each with a share of the budget; equal shares by default"),
    ]

    @model_validator(mode="before")
    @classmethod
    def _parts_alone(cls, value: Any) -> Any:
        return {"parts": value} if isinstance(value, (list, tuple)) else value

    @model_validator(mode="after")
    def _shares_fit(self) -> Recipe:
        if len(self.parts) < 2:
            raise ValueError(f"a recipe has two parts or more, this one has {len(self.parts)}")
        said = sum(part.share or 0.0 for part in self.parts)
        if any(part.share is None and part.spends for part in self.parts):
            if said > 1 - 1e-9:
                raise ValueError(f"shares of {said:g} leave nothing to the parts without one")
        elif said and abs(said - 1) > 1e-9:
            raise ValueError(f"the shares of the parts come to {said:g}, not to 1")
        return self

    def shares(self) -> list[float]:
        """Each part's share: as said, and the rest evenly among the others that learn from data."""
        rest = 1.0 - sum(part.share or 0.0 for part in self.parts)
        learners = [p for p in self.parts if p.share is None and learns(p.method)]
        return [
            part.share or (rest / len(learners) if part in learners else 0.0) for part in self.parts
        ]

    def skip(self, session: Session) -> str | None:
        reasons = (obstacle(part.method, session) for part in self.parts)
        return next(filter(None, reasons), None)

    def unmerged_end(self) -> str:
        """As `unmerged` of a method, for what comes out of the recipe."""
        return ""

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        return {}  # each part has its own


def leaves(recipe: Resolved) -> Iterator[Resolved]:
    """The methods that a recipe is made of, in their order; of a method itself."""
    if isinstance(recipe.usable, Recipe):
        for part in recipe.usable.parts:
            yield from leaves(part.recipe)
    else:
        yield recipe


def learns(method: Method) -> bool:
    return bool(method.formats) or isinstance(method, Recipe)


def obstacle(method: Method, session: Session) -> str | None:
    """Why a method cannot run in a session, or None."""
    if missing := [f for f in method.needs() if f not in session.task.formats]:
        return f"{session.task.name} has no {', '.join(missing)} data"
    if session.gpus > 1 and method.one_gpu:
        return f"cannot train on several GPUs: {method.one_gpu}"
    if session.padding_free and (reason := method.padded or _learner(method).padded):
        return f"cannot train without padding: {reason}"
    if session.start.spec.quantize and (reason := _learner(method).full_precision):
        return f"cannot train on a quantized model: {reason}"
    if session.merges and (reason := unmerged(method)):
        return f"cannot be merged into the model's weights: {reason}"
    return method.skip(session)


def unmerged(method: Method) -> str:
    """Why what comes out of a method cannot become part of the weights; empty where it can."""
    if isinstance(method, Recipe):
        return method.unmerged_end()
    return _learner(method).unmerged


def _learner(method: Method) -> Method:
    """The adapter that a method trains, or the method itself: it decides what is learned."""
    if isinstance(method, Adaptable) and method.adapter is not None:
        return method.adapter.recipe.method
    return method


def apply(name: str, method: Method, session: Session) -> Any:
    """Train the recipe of that name; `Skipped` where it cannot run.

    Its objective, before and after, is measured when `session.log` is asked to settle: whoever
    keeps the model saves it first.
    """
    from transformers import set_seed

    if reason := obstacle(method, session):
        raise Skipped(reason)
    steps, start = session.ledger.steps, session.start
    forget_others(session.optim)
    set_seed(session.seed)
    session.made_by = (name, method)
    session.adapter = method.adapter if isinstance(method, Adaptable) else None
    model = method.train(session)
    session.log.pending.append(partial(_measure, name, method, session, start, model))
    if session.ledger.steps > steps and not isinstance(method, Recipe):
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        session.log.trainable = max(session.log.trainable, count)
    return model


def _measure(name: str, method: Method, session: Session, start: Start, model: Any) -> None:
    """Write down what the method optimizes, before and after."""
    from bench.methods.objective import measured

    before, after = measured(method, session, start, model)
    if before.get("values") != {}:
        goal, better = method.goal
        look = {"goal": goal, "better": better, "before": before, "after": after}
        session.log.objectives.append({"stage": session.stage_name, "method": name, **look})
