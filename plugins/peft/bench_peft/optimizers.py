"""Methods whose optimizer belongs to them."""

from __future__ import annotations

from inspect import unwrap
from math import gcd
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench import Choice, LogRange

from . import LowRank, PeftMethod, fitted

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from bench import Session

LONGEST = 256  # vector of VB-LoRA


class LoraPlus(LowRank):
    """LoRA whose second factor learns faster than its first."""

    reference: ClassVar = (
        "Hayou et al. 2024, LoRA+, 2402.12354 (peft.optimizers.create_loraplus_optimizer)"
    )

    # that of the first factor: 5e-5 at a ratio of 16 in PEFT's documentation
    lr: Annotated[
        float, LogRange(1e-6, 1e-2), Field(gt=0, description="peak learning rate of A")
    ] = 5e-5
    loraplus_lr_ratio: Annotated[
        float,
        Choice((4, 8, 16, 32)),
        Field(ge=1, description="learning rate of B over that of A, which is lr"),
    ] = 16

    def optimizer(self, session: Session, model: PeftModel) -> Optimizer:
        from peft.optimizers import create_loraplus_optimizer
        from torch.optim import AdamW

        given = {"lr": self.lr, "weight_decay": 0.0, "fused": session.device.type == "cuda" or None}
        ratio = self.loraplus_lr_ratio
        return create_loraplus_optimizer(model, AdamW, loraplus_lr_ratio=ratio, **given)


class LoraFa(LowRank):
    """LoRA with a frozen first factor, for which the gradient of the second is corrected."""

    reference: ClassVar = (
        "Zhang et al. 2023, LoRA-FA, 2308.03303 (peft.optimizers.create_lorafa_optimizer)"
    )

    # 1e-4 in PEFT's comparison on MetaMathQA, at the same scale of 2
    lr: Annotated[
        float, LogRange(3e-5, 3e-1), Field(gt=0, description="peak learning rate of Adam")
    ] = 1e-4

    def optimizer(self, session: Session, model: PeftModel) -> Optimizer:
        from peft.optimizers import create_lorafa_optimizer

        return create_lorafa_optimizer(model, self.r, self.lora_alpha, self.lr)  # pyright: ignore[reportArgumentType]


class LoraRiemannian(LowRank):
    """LoRA whose gradients are preconditioned by the other factor, so that they do not depend on
    how an update is split into two.
    """

    reference: ClassVar = (
        "Zhang and Pilanci 2024, Riemannian preconditioned LoRA, 2402.02347, eq. 3 and Algorithm 2"
        " (peft.optimizers.create_riemannian_optimizer)"
    )
    verified: ClassVar = "frozen base; reload; preconditioned gradients by hand; one step is one"

    # rate and damping of PEFT's comparison on MetaMathQA
    lr: Annotated[
        float, LogRange(1e-5, 1e-1), Field(gt=0, description="peak learning rate of AdamW")
    ] = 1e-4
    reg: Annotated[
        float,
        LogRange(1e-6, 1e-1),
        Field(gt=0, description="δ, added to the diagonal of what is inverted"),
    ] = 1e-2

    def optimizer(self, session: Session, model: PeftModel) -> Optimizer:
        from peft.optimizers import create_riemannian_optimizer
        from torch.optim import AdamW

        class Inner(AdamW):
            """AdamW whose step runs no hooks: PEFT's step around it runs them."""

            def step(self, closure: Any = None) -> Any:
                return unwrap(AdamW.step)(self, closure)

        adamw = session.optimizer(model, self.lr)  # makes all in float32
        given = {name: adamw.defaults[name] for name in ("weight_decay", "fused")}
        return create_riemannian_optimizer(model, Inner, lr=self.lr, reg=self.reg, **given)


class Vblora(PeftMethod):
    """LoRA factors put together from a shared bank of vectors."""

    reference: ClassVar = "Li et al. 2024, VB-LoRA, 2405.15179 (peft.VBLoRAConfig)"
    verified: ClassVar = "frozen base; reload; first steps of bank and logits"

    # 1e-3 and 1e-2 in the paper and in PEFT's example of sequence classification
    lr: Annotated[
        float,
        LogRange(1e-4, 1.0),
        Field(gt=0, description="peak learning rate of the vector bank"),
    ] = 1e-3
    lr_logits: Annotated[
        float,
        LogRange(1e-3, 1.0),
        Field(gt=0, description="peak learning rate of what chooses among the vectors"),
    ] = 1e-2
    r: Annotated[int, Choice((4, 8)), Field(gt=0, description="rank of the update")] = 4
    vector_length: Annotated[
        int | None,
        Field(
            gt=0,
            description="length of a vector, which divides all widths; without it the largest power"
            " of two that does, at most the paper's 256",
        ),
    ] = None
    num_vectors: Annotated[
        int, Choice((64, 256, 1024)), Field(gt=0, description="vectors in the bank")
    ] = 256

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import VBLoRAConfig

        names = fitted.linear_modules(model)
        widths = [w for n in names for w in model.get_submodule(n).get_parameter("weight").shape]
        return VBLoRAConfig(
            task_type="CAUSAL_LM",
            target_modules="all-linear",
            r=self.r,
            num_vectors=self.num_vectors,
            vector_length=self.vector_length or gcd(LONGEST, *widths),
        )

    def optimizer(self, session: Session, model: PeftModel) -> Optimizer:
        optimizer = session.optimizer(model, self.lr)
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        bank = [p for n, p in named if "vblora_vector_bank" in n]
        optimizer.param_groups[0]["params"] = bank
        logits = [p for n, p in named if "vblora_vector_bank" not in n]
        optimizer.add_param_group({"params": logits, "lr": self.lr_logits})
        return optimizer
