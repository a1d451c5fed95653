"""TRL's own trainer of DPO and its variants, on the tokens of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.data.formats import Format

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl.trainer.dpo_trainer import DPOTrainer

    from bench.methods.session import Session


def dpo_trainer(session: Session, model: PreTrainedModel, **settings: Any) -> DPOTrainer:
    """`settings` are those of TRL's `DPOConfig`. A row that is too long loses the start of its
    prompt, as everywhere.
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
        **session.trainer_kwargs(DPOConfig, max_length=None, **settings),
    )
