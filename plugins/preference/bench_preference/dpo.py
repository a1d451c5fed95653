"""Direct preference optimisation: once, by TRL, and in stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, Format, LogRange

from .pairs import ReferenceMethod

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel
    from trl.trainer.dpo_trainer import DPOTrainer

    from bench import Session

Beta = Annotated[
    float, LogRange(1e-2, 1.0), Field(gt=0, description="strength of the pull to the reference")
]


class DPO(ReferenceMethod):
    """Trains the policy as its own reward model, the reward being how much more likely a completion
    is than under the start model.
    """

    reference: ClassVar = (
        "Rafailov et al. 2023, Direct preference optimization, 2305.18290, eq. 7 (trl.DPOTrainer)"
    )
    verified: ClassVar = (
        "golden; tokens as everybody's; first loss ln 2; steps equal a plain loop; the reference is"
        " charged"
    )

    beta: Beta = 0.1

    @property
    def scale(self) -> float:
        return self.beta

    def loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        from . import losses

        return losses.dpo(chosen, rejected, self.beta)

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        self.trainer(session, model).train()
        return model

    def trainer(self, session: Session, model: PreTrainedModel) -> DPOTrainer:
        """TRL's trainer over the same tokens as everybody's: what is too long loses the start of
        its prompt, not its answer.
        """
        from trl.trainer.dpo_config import DPOConfig
        from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

        pad = session.tokenizer.pad_token_id
        assert isinstance(pad, int)
        return DPOTrainer(
            model,
            ref_model=session.reference(),
            train_dataset=session.dataset(Format.PREFERENCE),
            data_collator=DataCollatorForPreference(
                pad, max_length=session.max_length, truncation_mode="keep_end"
            ),
            **session.trainer_kwargs(
                DPOConfig,
                learning_rate=self.lr,
                loss_type=["sigmoid"],
                beta=self.beta,
                max_length=None,
            ),
        )


class SDPO(DPO):
    """DPO in stages, each on new pairs, with the model that the stage before made as its start and
    as its reference.
    """

    reference: ClassVar = "Kim et al. 2024, sDPO: don't use your data all at once, 2403.19270, §3"
    verified: ClassVar = (
        "first loss of each stage is ln 2; differs from DPO from the second stage on"
    )

    stages: Annotated[
        int,
        Choice((2, 3, 4)),
        Field(gt=1, description="stages, each with an equal share of the budget"),
    ] = 2

    def train(self, session: Session) -> PreTrainedModel:
        from .likelihood import paired_log_ratios

        model, reference = session.model(), session.reference()
        optimizer, stage = session.optimizer(model, self.lr), 0
        for rows in session.rows(Format.PREFERENCE):
            if int(session.progress * self.stages) > stage:
                stage = int(session.progress * self.stages)
                reference.load_state_dict(model.state_dict())
                optimizer = session.optimizer(model, self.lr)
            session.step(
                optimizer, self.loss(*paired_log_ratios(model, reference, session, rows)).mean()
            )
        return model
