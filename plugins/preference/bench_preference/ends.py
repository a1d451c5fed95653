"""What ends a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def end_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """All tokens that end a sample, as TRL takes them: the tokenizer's end of sequence, and what
    else the model declares, such as the end of a turn.
    """
    declared = model.generation_config.eos_token_id
    more = [declared] if isinstance(declared, int) else declared or []
    return list(dict.fromkeys([tokenizer.eos_token_id, *more]))
