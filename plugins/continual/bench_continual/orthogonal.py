"""Regularisation of subspaces: a low-rank update orthogonal to those of earlier targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, Format, LogRange, Method, token_losses

if TYPE_CHECKING:
    from pathlib import Path

    from peft import PeftModel
    from torch import Tensor

    from bench import Session


class OLora(Method):
    """LoRA whose update is kept orthogonal to the updates of earlier targets; without an earlier
    target it is LoRA.
    """

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    family: ClassVar = "continual"
    full_precision: ClassVar = ""
    reference: ClassVar = (
        "Wang et al. 2023, Orthogonal subspace learning for language model continual learning,"
        " 2310.14152, §3, with the absolute values of the authors' program"
    )
    verified: ClassVar = (
        "golden, gradients; A_iA_tᵀ shrinks; λ = 0.5 keeps the first of two targets;"
        " without an earlier target it is LoRA"
    )

    lr: Annotated[
        float, LogRange(1e-5, 1e-1), Field(gt=0, description="peak learning rate of AdamW")
    ] = 2e-4
    r: Annotated[int, Choice((4, 8, 16, 32, 64)), Field(gt=0, description="rank of the update")] = 8
    lora_alpha: Annotated[
        int,
        Choice((8, 16, 32, 64)),
        Field(gt=0, description="the update is scaled by lora_alpha / r"),
    ] = 16
    lambda_1: Annotated[
        float,
        LogRange(0.01, 100),
        Field(ge=0, description="weight of Σ|A_iA_tᵀ|, the overlap with earlier updates"),
    ] = 0.5

    def train(self, session: Session) -> PeftModel:
        from peft import LoraConfig, PeftModelForCausalLM

        from . import penalties

        config = LoraConfig(
            task_type="CAUSAL_LM", r=self.r, lora_alpha=self.lora_alpha, target_modules="all-linear"
        )
        model = PeftModelForCausalLM(session.model(), config)
        pairs = _pairs(model, session.earlier)
        optimizer = session.optimizer(model, self.lr)
        for batch in session.batches(self.formats[0]):
            session.learn(
                optimizer,
                batch,
                lambda part: (
                    token_losses(model, part) + self.lambda_1 * penalties.orthogonality(pairs)
                ),
            )
        return model


def _pairs(model: PeftModel, earlier: tuple[Path, ...]) -> list[tuple[Tensor, Tensor]]:
    """Each A of each earlier adapter with the A that is trained in its place."""
    from safetensors.torch import load_file

    trained = {
        name.replace(".default", ""): a
        for name, a in model.named_parameters()
        if ".lora_A." in name
    }
    pairs = []
    for folder in earlier:
        saved = load_file(folder / "adapter_model.safetensors")
        pairs += [
            (saved[name].to(a.device, a.dtype), a) for name, a in trained.items() if name in saved
        ]
    return pairs
