"""The contract with a method: a class whose fields are its hyper-parameters, and one verb, `train`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from .session import Measuring, Session


class Format(StrEnum):
    """A shape of training data, by the columns of its rows. Names follow TRL's dataset formats, where TRL has one."""

    LANGUAGE_MODELING = "language-modeling"  # text
    PROMPT_COMPLETION = "prompt-completion"  # prompt, completion
    INSTRUCTION = "instruction"  # prompt, completion: a mixture of many tasks that leaves the target out
    PREFERENCE = "preference"  # prompt, chosen, rejected
    UNPAIRED_PREFERENCE = "unpaired-preference"  # prompt, completion, label
    PROMPT_ONLY = "prompt-only"  # prompt, answer: a completion earns 1 when it equals the answer
    RANKING = "ranking"  # prompt, completions, scores


@dataclass(frozen=True)
class LogRange:
    """Search range of a positive hyper-parameter, uniform in its logarithm."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}, log"


@dataclass(frozen=True)
class Range:
    """Search range of a hyper-parameter, uniform between its ends."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """Search range of a hyper-parameter with a few values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.values))


SearchRange = LogRange | Range | Choice


class Method(BaseModel):
    """How a model is adapted. Fields are hyper-parameters: each has a default and, as annotation, a search range."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    formats: ClassVar[tuple[Format, ...]]
    """Every format of data that this method learns from; the target must offer all of them. Empty where it learns from none."""
    reference: ClassVar[str]
    """The paper or implementation it follows."""
    family: ClassVar[str] = "other"
    """The group that `bench methods` lists it in."""
    goal: ClassVar[tuple[str, Literal["lower", "higher"]]] = ("nll", "lower")
    """Which number of `objective` it strives for, and in which direction."""

    verified: ClassVar[str] = ""
    """How it is known to do what its reference says: a golden value, an official implementation. Empty where nobody has looked."""

    def skip(self, session: Session) -> str | None:
        """The reason why this method cannot run here, or None."""
        return None

    @abstractmethod
    def train(self, session: Session) -> PreTrainedModel | PeftModel:
        """Adapt `session.model()` until the budget is spent, and give back the model whose state is to be saved."""

    def objective(self, session: Measuring, model: PreTrainedModel | PeftModel) -> dict[str, float]:
        """What this method itself optimises, measured on validation rows: called before and after training, charged to nobody.

        Without one of its own, the negative log-likelihood per token of what is learned to be said, where the format has that.
        """
        from .objective import mean_nll

        return mean_nll(self.formats, session, model)


Weights = dict[str, "Tensor"]
"""All weights of a model by name, in float32."""


class Merger(BaseModel):
    """How the results of several recipes become one model. Fields are hyper-parameters, as a method's are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reference: ClassVar[str]
    """The paper or implementation it follows."""

    @abstractmethod
    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        """One set of weights from those of the parts and those that all parts started from."""


@dataclass(frozen=True)
class Hyperparameter:
    """What `bench methods NAME` tells of one field."""

    name: str
    type: str
    default: Any
    """None where there is none, too: `required` tells them apart."""
    required: bool
    range: SearchRange | None
    description: str


def hyperparameters(method: type[Method] | type[Merger]) -> list[Hyperparameter]:
    """The fields of a method or merger class in the order of their definition."""
    return [
        Hyperparameter(
            name=name,
            type=getattr(field.annotation, "__name__", str(field.annotation)),
            default=None if field.is_required() else field.get_default(call_default_factory=True),
            required=field.is_required(),
            range=next((m for m in field.metadata if isinstance(m, SearchRange)), None),
            description=field.description or "",
        )
        for name, field in method.model_fields.items()
    ]
