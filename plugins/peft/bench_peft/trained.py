"""Methods that PEFT's configuration alone does not make: their optimizer, their penalty or their
schedule belongs to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from bench import Choice, LogRange, Range

from . import OWN_LOSS, LowRank, PeftMethod, fitted, own_losses
from .allocation import FIRST, LAST, MOMENTS, Allocation
from .table import LOW_RANK

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from peft.tuners.lora.monteclora import BufferedMontecloraSampler
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from bench import Session

LowRankRate = Annotated[
    float,
    LogRange(LOW_RANK.low, LOW_RANK.high),
    Field(gt=0, description="peak learning rate of AdamW"),
]


class Allocating(PeftMethod):
    """Takes rank away from where it matters least, while it trains."""

    interval: ClassVar[int]

    def train(self, session: Session) -> PeftModel:
        model = self.adapted(session)
        optimizer = self.optimizer(session, model)
        trained = [p for p in model.parameters() if p.requires_grad]
        allocation = Allocation(session, model, optimizer, self.interval)
        self.fit(session, model, optimizer)
        allocation.finish()
        for parameter in trained:
            parameter.requires_grad_(True)  # what was switched off meanwhile was trained, too
        return model


class AdaLora(Allocating):
    """Updates in the form of a singular value decomposition; ranks move to the layers where they
    matter most.
    """

    reference: ClassVar = (
        "Zhang et al. 2023, AdaLoRA, 2303.10512, eq. 4, 9 and 12 (peft.AdaLoraConfig)"
    )
    verified: ClassVar = "frozen base; reload; rank is allocated; the regulariser is not dropped"
    padded: ClassVar = OWN_LOSS
    interval: ClassVar = LAST  # PEFT makes its last cut at this one step only

    # 5e-4 (MNLI) and 8e-4 (SST-2) in the authors' scripts: singular values start at zero
    lr: Annotated[
        float, LogRange(1e-4, 3e-1), Field(gt=0, description="peak learning rate of AdamW")
    ] = 1e-3
    init_r: Annotated[
        int, Choice((6, 12, 24, 64)), Field(gt=0, description="rank of each layer at the start")
    ] = 12
    target_r: Annotated[
        int, Choice((4, 8, 16, 32)), Field(gt=0, description="mean rank of a layer at the end")
    ] = 8
    lora_alpha: Annotated[
        float, Choice((8, 16, 32, 64)), Field(gt=0, description="scale of the update")
    ] = 16
    orth_reg_weight: Annotated[
        float,
        Range(0.0, 1.0),
        Field(ge=0, description="weight of the penalty on factors that are not orthogonal"),
    ] = 0.5

    @model_validator(mode="after")
    def _ranks_shrink(self) -> AdaLora:
        if self.target_r >= self.init_r:
            raise ValueError(
                f"target_r must be less than init_r, not {self.target_r} of {self.init_r}"
            )
        return self

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import AdaLoraConfig

        return AdaLoraConfig(
            task_type="CAUSAL_LM",
            target_modules="all-linear",
            init_r=self.init_r,
            target_r=self.target_r,
            lora_alpha=self.lora_alpha,  # pyright: ignore[reportArgumentType]
            orth_reg_weight=self.orth_reg_weight,
            tinit=FIRST,
            tfinal=MOMENTS - LAST,
            total_step=MOMENTS,
        )

    def losses(self, model: PeftModel, batch: dict[str, Tensor]) -> Tensor:
        return own_losses(model, batch)  # with the penalty on factors


class AdamssAsa(Allocating):
    """AdaMSS that switches the least important clusters off while it trains."""

    reference: ClassVar = "peft.AdamssConfig(use_asa=True)"
    full_precision: ClassVar = "it decomposes weight matrices"
    interval: ClassVar = 50

    lr: LowRankRate = 2e-4
    r: Annotated[
        int, Choice((32, 100)), Field(gt=0, description="singular directions that are clustered")
    ] = 100
    num_subspaces: Annotated[
        int, Choice((5, 10, 32)), Field(gt=0, description="clusters for each weight")
    ] = 10
    asa_target_subspaces: Annotated[
        int,
        Choice((50, 100, 500)),
        Field(gt=0, description="clusters of all weights that are left"),
    ] = 50

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import AdamssConfig

        return AdamssConfig(
            task_type="CAUSAL_LM",
            target_modules="all-linear",
            r=self.r,
            num_subspaces=self.num_subspaces,
            asa_target_subspaces=self.asa_target_subspaces,
            use_asa=True,
            init_warmup=FIRST,
            final_warmup=LAST,
            mask_interval=self.interval,
        )


class _Noise:
    """A MonteCLoRA sampler's `get`, which gives the same sample for all passes of a step."""

    def __init__(self, sampler: BufferedMontecloraSampler) -> None:
        self.draw, self.sample = sampler.get, None
        sampler.get = self.get

    def get(self) -> dict[str, Tensor]:
        if self.sample is None:
            self.sample = self.draw()
        return self.sample

    def draw_again(self, *_: Any) -> None:
        self.sample = None


class Kasa(LowRank):
    """LoRA with learned singular values, on weights without their smallest singular directions."""

    reference: ClassVar = "Wang et al. 2024, KaSA, 2412.06071, eq. 9-12 (peft.KasaConfig)"

    beta: Annotated[
        float,
        LogRange(1e-5, 1e-2),
        Field(ge=0, description="weight of the penalty on the singular values"),
    ] = 1e-4
    gamma: Annotated[
        float,
        LogRange(1e-5, 1e-2),
        Field(ge=0, description="weight of the penalty on factors that are not orthogonal"),
    ] = 1e-3

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import KasaConfig

        return self.lora_config(kasa_config=KasaConfig(beta=self.beta, gamma=self.gamma))

    def losses(self, model: PeftModel, batch: dict[str, Tensor]) -> Tensor:
        return super().losses(model, batch) + model.base_model._get_kasa_loss()  # pyright: ignore[reportCallIssue]


class MonteCLora(LowRank):
    """LoRA with learned noise on its weights, averaged over samples."""

    reference: ClassVar = "Sengupta et al. 2024, MonteCLoRA, 2411.04358 (peft.MontecloraConfig)"

    num_samples: Annotated[
        int, Choice((4, 8, 16)), Field(gt=0, description="samples in each forward pass")
    ] = 8
    kl_loss_weight: Annotated[
        float,
        LogRange(1e-6, 1e-3),
        Field(ge=0, description="weight of the divergence from the prior"),
    ] = 1e-5

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import MontecloraConfig

        return self.lora_config(
            monteclora_config=MontecloraConfig(
                num_samples=self.num_samples, kl_loss_weight=self.kl_loss_weight
            )
        )

    def optimizer(self, session: Session, model: PeftModel) -> Optimizer:
        """Its noise is drawn once per step, so that the parts of a batch share it."""
        from peft.tuners.lora.monteclora import MontecloraSampler

        optimizer = super().optimizer(session, model)
        for module in model.modules():
            if isinstance(module, MontecloraSampler):
                optimizer.register_step_post_hook(_Noise(module.sampler).draw_again)
        return optimizer

    def losses(self, model: PeftModel, batch: dict[str, Tensor]) -> Tensor:
        return super().losses(model, batch) + model.base_model._get_monteclora_loss()  # pyright: ignore[reportCallIssue]


class ALora(LowRank):
    """LoRA that acts only from the last words of the prompt on, those that all prompts end in."""

    reference: ClassVar = (
        "Greenewald et al. 2025, Activated LoRA, 2504.12397"
        " (peft.LoraConfig(alora_invocation_tokens=…))"
    )
    padded: ClassVar = "it begins once in each row"
    unmerged: ClassVar = "it acts on the tokens behind its invocation alone"

    def skip(self, session: Session) -> str | None:
        return (
            None
            if fitted.common_ending(session)
            else "its prompts do not end alike, so nothing could invoke the adapter"
        )

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        return self.lora_config(alora_invocation_tokens=fitted.common_ending(session))


class Shadow(PeftMethod):
    """A small network beside the model whose state is fed into every layer."""

    reference: ClassVar = "peft.ShadowConfig"
    padded: ClassVar = OWN_LOSS
    unmerged: ClassVar = "it is a network beside the layers"

    lr: LowRankRate = 2e-4
    r: Annotated[int, Choice((4, 8, 16, 32, 64)), Field(gt=0, description="rank of the update")] = 8

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import ShadowConfig

        return ShadowConfig(task_type="CAUSAL_LM", r=self.r)

    def adapted(self, session: Session) -> PeftModel:
        from peft.tuners.shadow import ShadowLayer

        model = super().adapted(session)
        last = [module for module in model.modules() if isinstance(module, ShadowLayer)][-1]
        # no layer is left to read what the last one makes of the state
        last.shadow_update_transform.requires_grad_(False)
        last.shadow_update_gate.requires_grad_(False)
        return model

    def losses(self, model: PeftModel, batch: dict[str, Tensor]) -> Tensor:
        import torch

        base: Any = model.get_base_model()
        head = base.get_output_embeddings().weight  # frozen, unlike the network beside it
        with torch.autocast(head.device.type, head.dtype, head.dtype != torch.float32):
            return own_losses(model, batch)  # with the likelihood under the network alone
