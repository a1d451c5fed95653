"""The keys of a suite that have keys of their own: its budget, batch and search."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bench.accounting.budget import CURRENCIES, Budget, Currency
from bench.suite.amounts import Amount


def _as_micro(value: Any) -> Any:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if is_count or value in (None, "auto"):
        return value
    raise ValueError(f"give a number of sequences, or auto, not {value!r}")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class BudgetSpec(Strict):
    """What every recipe may spend: an amount in exactly one currency."""

    tokens: Amount | None = Field(
        default=None, description="tokens of data passed through any model, padding apart"
    )
    flops: Amount | None = Field(
        default=None, description="floating-point operations of all matrix products"
    )
    seconds: Amount | None = Field(default=None, description="wall-clock seconds of training")
    samples: Amount | None = Field(default=None, description="texts read, whatever for")
    steps: Amount | None = Field(default=None, description="optimizer steps")

    @model_validator(mode="after")
    def _one(self) -> BudgetSpec:
        if sum(getattr(self, currency) is not None for currency in CURRENCIES) != 1:
            raise ValueError(f"give exactly one of {', '.join(CURRENCIES)}")
        return self

    def budget(self) -> Budget:
        currency: Currency = next(c for c in CURRENCIES if getattr(self, c) is not None)
        return Budget(currency, getattr(self, currency))


class BatchSpec(Strict):
    size: int = Field(
        default=32,
        gt=0,
        description="sequences per optimizer step, and answered at once in evaluation",
    )
    max_length: int = Field(
        default=512, gt=1, description="tokens per sequence; longer prompts lose their start"
    )
    micro: Annotated[
        Annotated[int, Field(gt=0)] | Literal["auto"] | None, BeforeValidator(_as_micro)
    ] = Field(
        default=None,
        description=(
            "sequences that pass the model at once; it must divide size [default: size]. auto"
            " begins with size and halves it whenever memory runs out"
        ),
    )
    checkpointing: bool = Field(
        default=False, description="recompute activations in the backward pass to save memory"
    )
    evaluation: int | None = Field(
        default=None,
        gt=0,
        description=(
            "prompts that are answered at once in evaluation [default: size]; halved whenever"
            " memory runs out"
        ),
    )
    group_by_length: bool = Field(
        default=False,
        description="put rows of similar length in one batch, so that less of it is padding",
    )
    padding_free: bool = Field(
        default=False,
        description="likelihoods pass texts side by side in one row, none seeing another, without"
        " padding",
    )

    @property
    def answered_at_once(self) -> int:
        """Prompts in a batch of evaluation."""
        return self.evaluation or self.size

    @model_validator(mode="after")
    def _micro_divides(self) -> BatchSpec:
        if isinstance(self.micro, int) and self.size % self.micro:
            raise ValueError(f"micro must divide size: {self.size} is no multiple of {self.micro}")
        return self


class TuningSpec(Strict):
    """The same search for every recipe: as many trials, the same points, the same rule."""

    trials: int = Field(
        gt=0,
        description="draws per recipe of the hyper-parameters that the suite does not set",
    )
    share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the budget that each trial may spend, on top of the row's own",
    )
    select: Literal["best-validation"] = Field(
        default="best-validation", description="the rule that chooses among trials"
    )
    seed: int = Field(default=0, ge=0, description="of the quasi-random sequence")
    defaults: bool = Field(
        default=True,
        description="also train each recipe with the values that the search would draw left at"
        " their defaults",
    )
