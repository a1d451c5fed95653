"""The contract with a method: a class whose fields are its hyper-parameters, and `train`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from bench.data.formats import Format

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench.methods.session import Session, ValidationSession


class Method(BaseModel):
    """How a model is adapted. Fields are hyper-parameters: each has a default and, as annotation, a
    search range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    formats: ClassVar[tuple[Format, ...]]
    """Every format of data that this method learns from; the target must offer all of them. Empty
    where it learns from none.
    """
    reference: ClassVar[str]
    """The paper or implementation it follows."""
    family: ClassVar[str] = "other"
    """The group that `bench methods` lists it in."""
    goal: ClassVar[tuple[str, Literal["lower", "higher"]]] = ("nll", "lower")
    """Which number of `objective` it strives for, and in which direction."""

    verified: ClassVar[str] = ""
    """How it is known to do what its reference says: a golden value, an official implementation.
    Empty where nobody has looked.
    """

    one_gpu: ClassVar[str] = ""
    """Why a model must lie on one device for it, such as `decomposes weight matrices`; empty where
    layers may be spread over several, as `gpus:` of a suite says.
    """

    padded: ClassVar[str] = ""
    """Why its batches stay padded, such as `its trainer pads them`; empty where its likelihoods
    come from `bench.token_losses` and its kin, so that `padding_free:` of a suite's batch works.
    """

    full_precision: ClassVar[str] = "it trains the weights of the model itself"
    """Why the start must not be quantized for it, such as `decomposes weight matrices`; empty where
    what it adds is all that trains, so that `quantize:` of a suite's model works.
    """

    unmerged: ClassVar[str] = ""
    """Why what it adds cannot become part of the model's weights, such as `it learns embeddings in
    front of the text`; empty where it can, so that a part of a chain or another target may follow
    it, and `engine: vllm` of a suite works.
    """

    def needs(self) -> tuple[Format, ...]:
        """The formats that the target must offer, where its hyper-parameters change that; else all
        of `formats`.
        """
        return self.formats

    def skip(self, session: Session) -> str | None:
        """The reason why this method cannot run here, or None."""
        return None

    @abstractmethod
    def train(self, session: Session) -> PreTrainedModel | PeftModel:
        """Adapt `session.model()` until the budget is spent, and give back the model whose state is
        to be saved.
        """

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """What this method itself optimises, measured on validation rows: called before and after
        training, charged to nobody.

        Without one of its own, the negative log-likelihood per token of what is learned to be said,
        where the format has that.
        """
        from bench.methods.likelihood import mean_nll

        return mean_nll(self.formats, session, model)


Weights = dict[str, "Tensor"]
"""All weights of a model by name, in float32."""


class Merger(BaseModel):
    """How the results of several recipes become one model. Fields are hyper-parameters, as a
    method's are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reference: ClassVar[str]
    """The paper or implementation it follows."""
    formats: ClassVar[tuple[Format, ...]] = ()
    """Every format of the target's data that `gather` reads."""
    gather_share: ClassVar[float] = 0.0
    """Share of each part's budget that is kept for `gather`; where it is 0, nothing is gathered."""

    def gather(self, session: Session) -> Weights:
        """What the merge must know of one part beside its weights, such as its Fisher information.

        `session.model()` is the part as it was trained, on the target's data; passes are charged.
        Whoever gathers takes what came of each part as a third argument of `merge`, `gathered`.
        """
        return {}

    learn_share: ClassVar[float] = 0.0
    """Share of the whole budget that is kept for `learn`; where it is 0, nothing is learned."""

    def learn(self, session: Session, start: Weights, parts: Sequence[Weights]) -> Weights:
        """What the merge must learn when all parts are trained, such as how much of each to take.

        `session.model()` is what all parts started from, `formats` the target's data to learn from.
        Whoever learns takes what came of it as an argument of `merge`, `learned`.
        """
        return {}

    @abstractmethod
    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        """One set of weights from those of the parts and those that all parts started from. Where a
        model has one tensor under several names, it stands here once, under the first of them.
        """
