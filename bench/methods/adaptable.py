"""Methods that train all parameters of a model, or an adapter that another method puts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, model_serializer, model_validator

from bench.methods.entry import Resolved, entry, resolve
from bench.methods.method import Method

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from bench.methods.session import Session

RATE = "lr"
"""What an adapter has where it is a method of its own, and not where another method trains it."""


@runtime_checkable
class AddsAdapter(Protocol):
    """A method that is an adapter inside the layers and nothing else, so that other methods can
    train what it adds.
    """

    def adapt(self, session: Session, model: PreTrainedModel) -> PeftModel:
        """The frozen model with an untrained adapter; raises `Skipped` where it cannot have one.

        The model is a language model, or one with a single output per token (a reward model or a
        critic), whose new head is trained beside the adapter.
        """
        ...


class Adapter(BaseModel):
    """A method that adds an adapter, written as under `methods`: `lora`, or `lora: {r: 16}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: InstanceOf[Resolved]

    @model_validator(mode="before")
    @classmethod
    def _entry(cls, value: Any) -> Any:
        name, given, beside = entry(value)
        if beside:
            raise ValueError(f"an adapter has no {', '.join(beside)}")
        if RATE in given:
            raise ValueError(f"{name}: {RATE} is the method's own: write it beside adapter")
        recipe = resolve(name, given)
        if recipe.usable is not None and not isinstance(recipe.usable, AddsAdapter):
            raise ValueError(
                f"{name} cannot be trained by another method; that takes an adapter inside the"
                " layers and nothing else, such as lora"
            )
        return {"recipe": recipe}

    @model_serializer
    def _as_entry(self) -> dict[str, Any]:
        parameters = self.recipe.parameters
        return {self.recipe.name: {name: parameters[name] for name in parameters if name != RATE}}

    def on(self, model: PreTrainedModel, session: Session) -> PeftModel:
        """The frozen model with this adapter; `Skipped` where it cannot have one."""
        method: Any = self.recipe.method
        return method.adapt(session, model)


class Adaptable(Method):
    """A method that trains all parameters, or with `adapter` what that adds to frozen ones.

    `Session.model` and `Session.scorer` give it models that have the adapter already.
    """

    adapter: Annotated[
        Adapter | None,
        Field(
            exclude_if=lambda adapter: adapter is None,
            description="train what this method adds to the frozen model, such as lora",
        ),
    ] = None
