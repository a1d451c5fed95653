"""Parameter-efficient fine-tuning: a PEFT configuration each, and one loop for all of them."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bench import Choice, Format, LogRange, Method, Range, Skipped, token_losses, whole_weights

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from bench import Session


IN_FRONT = "what it learns stands in front of each row"
OWN_LOSS = "PEFT computes its loss"
"""Why batches of some methods stay padded."""


class PeftMethod(Method):
    """Trains what a PEFT configuration adds to a frozen model, on prompts and completions of the
    target.
    """

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    family: ClassVar = "parameter-efficient"
    full_precision: ClassVar = ""
    verified: ClassVar = "frozen base; reload"

    lr: float

    @abstractmethod
    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        """The PEFT configuration of these hyper-parameters."""

    def train(self, session: Session) -> PeftModel:
        model = self.adapted(session)
        self.fit(session, model, self.optimizer(session, model))
        return model

    def adapted(self, session: Session) -> PeftModel:
        """The start model with its untrained adapter."""
        start = session.model()
        return wrapped(start, self.config(session, start))

    def optimizer(self, session: Session, model: PeftModel) -> Optimizer:
        return session.optimizer(model, self.lr)

    def fit(self, session: Session, model: PeftModel, optimizer: Optimizer) -> None:
        """Train the adapter until the budget is spent."""
        for batch in session.batches(self.formats[0]):
            session.learn(optimizer, batch, partial(self.losses, model))

    def losses(self, model: PeftModel, batch: dict[str, Tensor]) -> Tensor:
        """Loss of each labelled token, (labels,)."""
        return token_losses(model, batch)


class AdapterAlone(PeftMethod):
    """An adapter inside the layers and nothing else, which other methods can train in place of all
    parameters.
    """

    def adapt(self, session: Session, model: PreTrainedModel) -> PeftModel:
        """The model with its untrained adapter. One that scores has a head, which trains too."""
        config = self.config(session, model)
        if model.get_output_embeddings() is None:
            config.task_type = "SEQ_CLS"
        return wrapped(model, config)


def own_losses(model: PeftModel, batch: dict[str, Tensor]) -> Tensor:
    """The loss that PEFT computes, a mean over labels plus a term of the method's own, repeated for
    each label: (labels,).
    """
    return model(**batch).loss.expand(int((batch["labels"][:, 1:] >= 0).sum()))


def wrapped(model: PreTrainedModel, config: PeftConfig) -> PeftModel:
    """The model with an adapter; `Skipped` with PEFT's words where PEFT says that it cannot adapt
    this model so.
    """
    from peft import PeftModelForCausalLM, PeftModelForSequenceClassification

    scores = config.task_type == "SEQ_CLS"
    kind = PeftModelForSequenceClassification if scores else PeftModelForCausalLM
    device = model.device
    try:
        with whole_weights(model):  # which some adapters begin with
            made = kind(model, config)
        return made.to(device)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise Skipped(
            f"PEFT cannot adapt this model with {type(config).__name__}: {error}"
        ) from error


class LowRank(PeftMethod):
    """Low-rank updates of all linear layers but the output head."""

    lr: Annotated[
        float, LogRange(1e-5, 1e-1), Field(gt=0, description="peak learning rate of AdamW")
    ] = 2e-4
    r: Annotated[int, Choice((4, 8, 16, 32, 64)), Field(gt=0, description="rank of the update")] = 8
    lora_alpha: Annotated[
        float,
        Choice((8, 16, 32, 64)),
        Field(gt=0, description="the update is scaled by lora_alpha / r"),
    ] = 16
    lora_dropout: Annotated[
        float, Range(0.0, 0.2), Field(ge=0, lt=1, description="dropout before the update")
    ] = 0.0
    target_modules: Annotated[
        str | tuple[str, ...], Field(description="names of the layers, or all-linear")
    ] = "all-linear"

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        return self.lora_config()

    def lora_config(self, **settings: Any) -> PeftConfig:
        """LoRA's configuration; `settings` replace parts of it or add to it."""
        from peft import LoraConfig

        modules = (
            self.target_modules
            if isinstance(self.target_modules, str)
            else list(self.target_modules)
        )
        own = {
            "r": self.r,
            "lora_alpha": self.lora_alpha,
            "lora_dropout": self.lora_dropout,
            "target_modules": modules,
        }
        return LoraConfig(**{"task_type": "CAUSAL_LM", **own, **settings})


class Lora(LowRank, AdapterAlone):
    """Low-rank updates of all linear layers but the output head."""

    reference: ClassVar = "Hu et al. 2021, LoRA, 2106.09685 (peft.LoraConfig)"


class PromptTuning(PeftMethod):
    """Learned embeddings in front of the text; the model itself stays frozen."""

    padded: ClassVar = IN_FRONT
    unmerged: ClassVar = IN_FRONT
    reference: ClassVar = (
        "Lester et al. 2021, The power of scale for parameter-efficient prompt tuning, 2104.08691"
        " (peft.PromptTuningConfig)"
    )

    lr: Annotated[
        float, LogRange(1e-3, 1.0), Field(gt=0, description="peak learning rate of AdamW")
    ] = 3e-2
    num_virtual_tokens: Annotated[
        int,
        Choice((5, 10, 20, 50)),
        Field(gt=0, description="learned embeddings in front of the text"),
    ] = 20
    prompt_tuning_init: Annotated[
        Literal["RANDOM", "SAMPLE_VOCAB"],
        Choice(("RANDOM", "SAMPLE_VOCAB")),
        Field(description="start from random numbers, or from embeddings of random words"),
    ] = "SAMPLE_VOCAB"

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import PromptTuningConfig

        return PromptTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=self.num_virtual_tokens,
            prompt_tuning_init=self.prompt_tuning_init,  # pyright: ignore[reportArgumentType]
        )


class PrefixTuning(PeftMethod):
    """Learned keys and values in front of the text in every layer; the model stays frozen."""

    padded: ClassVar = IN_FRONT
    unmerged: ClassVar = IN_FRONT
    reference: ClassVar = (
        "Li and Liang 2021, Prefix-tuning, 2101.00190, without the network of §4.3 by default, as"
        " Liu et al. 2021, P-tuning v2, 2110.07602 (peft.PrefixTuningConfig)"
    )

    # of keys and values learned directly, see table.KEYS_VALUES
    lr: Annotated[
        float, LogRange(1e-3, 3.0), Field(gt=0, description="peak learning rate of AdamW")
    ] = 1e-2
    num_virtual_tokens: Annotated[
        int, Choice((5, 10, 20, 50)), Field(gt=0, description="learned keys and values per layer")
    ] = 20
    prefix_projection: Annotated[
        bool,
        Field(
            description="learn the prefix through a two-layer network, as in §4.3 of the paper;"
            " its learning rates are far lower (5e-5 there), so neither is drawn for the other"
        ),
    ] = False

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import PrefixTuningConfig

        return PrefixTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=self.num_virtual_tokens,
            prefix_projection=self.prefix_projection,
            encoder_hidden_size=model.config.get_text_config().hidden_size,
        )
