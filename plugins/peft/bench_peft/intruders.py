"""What may be taken out of an adapter after it has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, Range, whole_weights

from . import LowRank

if TYPE_CHECKING:
    from peft import PeftModel

    from bench import Session

NAMES = "default", "reduced"


class LoraIntruders(LowRank):
    """LoRA from whose update, when it has learned, the singular directions are faded that the
    weight did not have before.
    """

    reference: ClassVar = (
        "Shuttleworth et al. 2024, LoRA vs full fine-tuning, 2410.21228, Algorithm 1 and §5"
        " (peft.tuners.lora.intruders.reduce_intruder_dimension)"
    )
    verified: ClassVar = "frozen base; reload; golden; λ = 1 is lora"
    full_precision: ClassVar = "it compares the update with weight matrices"

    top_k: Annotated[
        int, Choice((1, 5, 10)), Field(gt=0, description="leading directions that are looked at")
    ] = 10
    threshold_epsilon: Annotated[
        float,
        Range(0.3, 0.9),
        Field(
            ge=0,
            le=1,
            description="a direction is an intruder if its cosine with each one before is below",
        ),
    ] = 0.5
    mitigation_lambda: Annotated[
        float,
        Range(0.0, 1.0),
        Field(ge=0, description="λ, factor on the singular value of an intruder"),
    ] = 0.75

    def train(self, session: Session) -> PeftModel:
        model = super().train(session)
        with whole_weights(model):
            return self.reduced(model)

    def reduced(self, model: PeftModel) -> PeftModel:
        """The model with its intruders faded."""
        import torch
        from peft.tuners.lora import LoraLayer
        from peft.tuners.lora.intruders import reduce_intruder_dimension

        old, new = NAMES
        settings = self.model_dump(include={"top_k", "threshold_epsilon", "mitigation_lambda"})
        reduce_intruder_dimension(model, old, new, logging_sink=None, **settings)
        with torch.no_grad():
            for layer in model.modules():
                if isinstance(layer, LoraLayer):
                    for factor in (layer.lora_A, layer.lora_B):
                        kept, faded = (factor[n].get_parameter("weight") for n in (old, new))
                        kept.copy_(faded)
        model.set_adapter(old)
        model.delete_adapter(new)
        return model
