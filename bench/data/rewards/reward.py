"""How a task rewards a completion: one reward, or the weighted sum of several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from bench.data.rewards import functions
from bench.data.rewards.verifiers import VERIFIERS, missing_package
from bench.system.errors import BrokenReward, UserError, nearest
from bench.system.fingerprints import of_model_folder

KINDS = f"{', '.join(VERIFIERS)}, file.py:function, module:function, or {{model: folder or hub id}}"


class RewardTerm(BaseModel):
    """One reward with its weight: `number`, `{number: 0.5}`, or `{model: ./judge, weight: 0.5}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = None
    """A verifier, or a function."""
    model: str | None = None
    """Folder or hub id of a sequence classifier."""
    weight: float = Field(default=1.0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": _known(value)}
        if not isinstance(value, dict) or not value:
            raise ValueError(f"a reward is {KINDS}")
        if "model" in value:
            if more := [str(key) for key in value if key not in ("model", "weight")]:
                raise ValueError(f"beside model: stands weight: alone, not {', '.join(more)}")
            return value
        if len(value) > 1:
            raise ValueError(
                f"an entry has one reward, this one has {', '.join(map(str, value))}; write several"
                " as a list: [{number: 1.0}, {rewards.py:short: 0.1}]"
            )
        name, weight = next(iter(value.items()))
        return {"name": _known(str(name)), "weight": weight}

    @model_serializer
    def _written(self) -> dict[str, Any]:
        if self.model is not None:
            return {"model": self.model, "weight": self.weight}
        return {str(self.name): self.weight}

    @property
    def is_verifier(self) -> bool:
        return self.name in VERIFIERS

    @property
    def is_function(self) -> bool:
        return self.name is not None and not self.is_verifier

    def seen_from(self, place: str) -> RewardTerm:
        """The same reward for a reader who has to take the relative way `place` to its folder."""
        if self.is_function and str(self.name).rpartition(":")[0].endswith(".py"):
            return self.model_copy(update={"name": os.path.normpath(f"{place}/{self.name}")})
        if self.model is not None and self.model.startswith("."):
            return self.model_copy(
                update={"model": f"./{os.path.normpath(f'{place}/{self.model}')}"}
            )
        return self

    def judge(self, folder: Path) -> str:
        """Where the classifier is loaded from: a folder relative to `folder`, or a hub id."""
        assert self.model is not None
        place = folder / self.model
        return str(place.resolve()) if place.is_dir() else self.model


def _known(name: str) -> str:
    where, colon, called = name.rpartition(":")
    if name not in VERIFIERS and not (colon and where and called.isidentifier()):
        raise ValueError(
            f"there is no reward {name}{nearest(name, VERIFIERS)}; a reward is {KINDS}"
        )
    return name


def _as_tuple(value: Any) -> Any:
    return value if value is None or isinstance(value, (list, tuple)) else [value]


RewardTerms = Annotated[
    tuple[RewardTerm, ...],
    BeforeValidator(
        _as_tuple,
        json_schema_input_type=str | dict[str, str | float] | list[str | dict[str, str | float]],
    ),
    Field(min_length=1),
]
_TERMS: TypeAdapter[tuple[RewardTerm, ...]] = TypeAdapter(RewardTerms)


@dataclass(frozen=True)
class Reward:
    """What a completion earns: the weighted sum of one or more rewards."""

    terms: tuple[RewardTerm, ...]
    folder: Path = Path()
    """Where files and folders start."""

    @classmethod
    def of(cls, written: Any, folder: Path = Path()) -> Reward:
        """A reward as a suite writes it, such as `"number"` or `[{"number": 1.0}, …]`."""
        try:
            return cls(_TERMS.validate_python(written), folder)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"reward: {first.get('ctx', {}).get('error', first['msg'])}") from None

    @property
    def highest(self) -> float | None:
        """The most that a completion can earn, which is what a right one earns; None where a
        function or a model judges, which know no end.
        """
        if not all(term.is_verifier for term in self.terms):
            return None
        return sum(term.weight for term in self.terms if term.weight > 0)

    @property
    def needs_answer(self) -> bool:
        return any(term.is_verifier for term in self.terms)

    @property
    def needs_columns(self) -> bool:
        """Whether columns beside prompt and answer may be asked for."""
        return any(term.is_function or term.name == "choice" for term in self.terms)

    def unearnable(self, row: Mapping[str, Any]) -> str | None:
        """Why no completion of a row can earn it, such as an answer without a number; None where
        one can, or where this shows only when it is computed.
        """
        for term in self.terms:
            if term.is_verifier and term.name != "math":  # formulas take long to read
                try:
                    VERIFIERS[str(term.name)]("", str(row["answer"]), row)
                except BrokenReward as error:
                    return str(error)
        return None

    def content(self) -> Iterator[bytes]:
        """What stands for the files that it is made of: of a function its whole file, of a local
        model its sizes and ends. A `UserError` where a file is missing.
        """
        for term in self.terms:
            if term.is_function:
                file = functions.source(str(term.name), self.folder)
                yield file.read_bytes() if file else b""
            elif term.model is not None and (place := Path(term.judge(self.folder))).is_dir():
                yield from of_model_folder(place)

    def problem(self) -> str | None:
        """Why it cannot be computed here, as far as this shows without a model: a function that
        cannot be imported, a package that is missing.
        """
        for term in self.terms:
            if term.is_verifier:
                if missing := missing_package(str(term.name)):
                    return missing
            elif term.is_function:
                try:
                    functions.imported(str(term.name), self.folder)
                except UserError as error:
                    return str(error)
        return None


EXACT = Reward.of("exact")
