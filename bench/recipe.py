"""Recipes: a method, a chain of recipes, or a merge of recipes. A recipe is itself a method and shares its budget out among its parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_serializer, model_validator

from . import registry
from .errors import Skipped, UserError, nearest
from .method import Merger, Method, Weights

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from .models import ModelSpec
    from .session import Measuring, Session


def entry(value: Any) -> tuple[str, Any, dict[str, Any]]:
    """Name, parameters and the keys beside it of `lora`, or of `lora: {r: 64}` with `as:` or `share:` beside it."""
    if isinstance(value, str):
        return value, {}, {}
    if not isinstance(value, dict):
        raise ValueError("write a method as name, or as name: {parameter: value}")
    named = [key for key in value if key not in ("as", "share")]
    if len(named) != 1:
        raise ValueError(f"an entry names one method, this one names {', '.join(map(str, named)) or 'none'}; start each with its own dash")
    return named[0], value[named[0]] or {}, {key: value[key] for key in value if key != named[0]}


def label(name: str, parameters: Any) -> str:
    """What a row is called when nobody says: sft, sft+dpo, merge(sft, lora)."""
    parts = parameters.get("parts") if isinstance(parameters, dict) else parameters
    if not isinstance(parts, list):
        return name
    inside = [label(*entry(part)[:2]) for part in parts]
    return "+".join(inside) if name == "chain" else f"{name}({', '.join(inside)})"


def mistakes(name: str, method: type[BaseModel], parameters: Any) -> list[tuple[tuple[int | str, ...], str]]:
    """What is wrong with hyper-parameters: where, and in words."""
    try:
        method.model_validate(parameters)
    except ValidationError as error:
        return [(e["loc"], _mistake(name, method, e)) for e in error.errors()]
    return []


def _mistake(name: str, method: type[BaseModel], error: Any) -> str:
    known = list(method.model_fields)
    field = str(error["loc"][-1]) if error["loc"] else name
    message = error["msg"]
    match error["type"]:
        case "extra_forbidden":
            return f"{name} has no parameter {field}{nearest(field, known)} (it has {', '.join(known)})"
        case "value_error":
            return f"{name}: {error['ctx']['error']}"
        case "greater_than":
            return f"{name}: {field} must be more than {error['ctx']['gt']}, not {error['input']}"
        case _:
            return f"{name}: {field}: {message[:1].lower()}{message[1:]}, not {error['input']!r}"


def _demand_none(found: list[tuple[tuple[int | str, ...], str]]) -> None:
    if found:
        raise ValueError("; ".join(what for _, what in found))


class Part(BaseModel):
    """One recipe inside another, written as entries under `methods` are, with `share:` where parts should not be equal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    parameters: dict[str, Any] = {}
    share: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _entry(cls, value: Any) -> Any:
        name, parameters, beside = entry(value)
        if "as" in beside:
            raise ValueError("a part has no name of its own: give as: to the whole recipe")
        plugin = _found(name)
        if plugin is None:
            return {"name": name, "parameters": parameters, **beside}
        _demand_none(mistakes(name, plugin, parameters))
        return {"name": name, "parameters": plugin.model_validate(parameters).model_dump(mode="json"), **beside}

    @model_serializer
    def _as_entry(self) -> dict[str, Any]:
        return {self.name: self.parameters} | ({"share": self.share} if self.share is not None else {})

    @cached_property
    def method(self) -> Method:
        """The part as a method; `Skipped` where its plugin cannot be used."""
        return registry.usable(self.name).model_validate(self.parameters)

    @property
    def usable(self) -> Method | None:
        """The part as a method, or None where its plugin cannot be used."""
        return self.method if registry.find(self.name).method else None


def _found(name: str) -> type[Method] | None:
    try:
        return registry.find(name).method
    except UserError as error:
        raise ValueError(str(error)) from None


class Recipe(Method):
    """Several recipes as one."""

    formats: ClassVar = ()
    family: ClassVar = "recipe"

    parts: Annotated[tuple[Part, ...], Field(description="recipes, each with a share of the budget: equal, unless said")]

    @model_validator(mode="before")
    @classmethod
    def _parts_alone(cls, value: Any) -> Any:
        return {"parts": value} if isinstance(value, (list, tuple)) else value

    @model_validator(mode="after")
    def _shares_fit(self) -> Recipe:
        if len(self.parts) < 2:
            raise ValueError(f"a recipe has two parts or more, this one has {len(self.parts)}")
        said = [part.share for part in self.parts if part.share is not None]
        if sum(said) > 1 + 1e-9 or (len(said) == len(self.parts) and sum(said) < 1 - 1e-9):
            raise ValueError(f"the shares of the parts come to {sum(said):g}, not to 1")
        return self

    def shares(self) -> list[float]:
        """Each part's share: as said, and the rest evenly among the others that learn from data."""
        rest = 1.0 - sum(part.share or 0.0 for part in self.parts)
        learners = [p for p in self.parts if p.share is None and _learns(p.method)]
        return [part.share or (rest / len(learners) if part in learners else 0.0) for part in self.parts]

    def skip(self, session: Session) -> str | None:
        return next((reason for part in self.parts if (reason := obstacle(part.method, session))), None)

    def objective(self, session: Measuring, model: PreTrainedModel | PeftModel) -> dict[str, float]:
        return {}  # each part has its own


def _learns(method: Method) -> bool:
    return bool(method.formats) or isinstance(method, Recipe)


class Chain(Recipe):
    """One recipe after another: each starts from what the one before it made."""

    reference: ClassVar = "bench: stages in a row, as in Ouyang et al. 2022, 2203.02155, Figure 2"

    def train(self, session: Session) -> PreTrainedModel | PeftModel:
        model, start = None, session.start
        for number, (part, until) in enumerate(zip(self.parts, accumulate(self.shares()), strict=True)):
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

    reference: ClassVar = "Wortsman et al. 2022, Model soups, 2203.05482, eq. 1; Kim et al. 2023, SOLAR 10.7B, 2312.15166, §4.3"

    weights: Annotated[tuple[float, ...], Field(description="one weight per part, summing to 1; equal when empty")] = ()

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        shares = self.weights or (1 / len(parts),) * len(parts)
        if len(shares) != len(parts):
            raise Skipped(f"linear has {len(shares)} weights for {len(parts)} parts")
        weighted = list(zip(shares, parts, strict=True))
        return {name: sum((share * part[name] for share, part in weighted[1:]), weighted[0][0] * parts[0][name]) for name in parts[0]}


class Merge(Recipe):
    """Recipes side by side from one start, their weights merged."""

    reference: ClassVar = "bench: each part on its share of the one budget, merged by a plugin"

    by: Annotated[dict[str, dict[str, Any]], Field(validate_default=True, description="how to merge: linear, or slerp: {t: 0.5}, …")] = {
        "linear": {}
    }

    @field_validator("by", mode="before")
    @classmethod
    def _merger(cls, value: Any) -> Any:
        """Resolved with the merger's defaults, so that a suite as resolved asks for the same run."""
        name, parameters, _ = entry(value)
        try:
            merger = registry.find_merger(name).method
        except UserError as error:
            raise ValueError(str(error)) from None
        if merger is None:
            return {name: parameters}
        _demand_none(mistakes(name, merger, parameters))
        return {name: merger.model_validate(parameters).model_dump(mode="json")}

    def train(self, session: Session) -> PreTrainedModel:
        from . import models

        finished = []
        for number, (part, until) in enumerate(zip(self.parts, accumulate(self.shares()), strict=True)):
            with session.stage(str(number), until) as stage:
                finished.append(handed_on(apply(part.name, part.method, stage), session, f"part-{number}"))
        weights = [_weights(spec, session) for spec in (session.start, *finished)]
        if len({tuple((name, tensor.shape) for name, tensor in part.items()) for part in weights[1:]}) > 1:
            raise Skipped("the parts are models of different shapes, which cannot be merged")
        merged = models.load_model(finished[0], session.dtype, session.device)
        merged.load_state_dict(self._merger_made().merge(weights[0], weights[1:]))
        return merged

    def _merger_made(self) -> Merger:
        ((name, parameters),) = self.by.items()
        return registry.usable_merger(name).model_validate(parameters)


def _weights(spec: ModelSpec, session: Session) -> Weights:
    from . import models

    return {name: tensor.float() for name, tensor in models.load_model(spec, session.dtype, session.device).state_dict().items()}


def obstacle(method: Method, session: Session) -> str | None:
    """Why a method cannot run in a session, or None."""
    missing = [f for f in method.formats if f not in session.task.formats]
    return f"{session.task.name} has no {', '.join(missing)} data" if missing else method.skip(session)


def apply(name: str, method: Method, session: Session) -> PreTrainedModel | PeftModel:
    """Train the recipe of that name, and write down what it itself optimises before and after; `Skipped` where it cannot run."""
    from transformers import set_seed

    from .objective import measured

    if reason := obstacle(method, session):
        raise Skipped(reason)
    steps, start = session.ledger.steps, session.start
    set_seed(session.seed)
    model = method.train(session)
    before, after = measured(method, session, start, model)
    if before.get("values") != {}:
        goal, better = method.goal
        look = {"goal": goal, "better": better, "before": before, "after": after}
        session.journal.objectives.append({"stage": session.stage_name, "method": name, **look})
    if session.ledger.steps > steps and not isinstance(method, Recipe):
        session.journal.trainable = max(session.journal.trainable, sum(p.numel() for p in model.parameters() if p.requires_grad))
    return model


def handed_on(model: PreTrainedModel | PeftModel, session: Session, name: str) -> ModelSpec:
    """A trained model as the start of what follows: adapters become part of the weights; `Skipped` where they cannot."""
    from . import models

    with session.unmetered():
        try:
            merged = models.merged(model)
        except models.CannotMerge as error:
            raise Skipped(str(error)) from error
        models.save(merged, session.folder / name, session.dtype)
    return session.start.moved(session.folder / name)


def origins(name: str, method: Method | None) -> str:
    """Package and version of a recipe and of everything in it."""
    return ", ".join(dict.fromkeys(_origins(name, method)))


def _origins(name: str, method: Method | None) -> list[str]:
    inside = [o for part in method.parts for o in _origins(part.name, part.usable)] if isinstance(method, Recipe) else []
    merger = [registry.find_merger(by).origin for by in method.by] if isinstance(method, Merge) else []
    return [registry.find(name).origin, *inside, *merger]
