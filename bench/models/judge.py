"""A sequence classifier that judges completions: the reward of a task, as its suite names it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.system.errors import BrokenReward

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Judge:
    """A frozen classifier with one output, and its own tokenizer."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def inputs(self, prompts: list[Any], completions: list[Any]) -> Any:
        """Right-padded tensors of what it reads, on its device; prompts and completions in TRL's
        shape. What is too long loses its start.

        Plain text is read as prompt and completion in one, a conversation through the tokenizer's
        own chat template.
        """
        chat = isinstance(prompts[0], list)
        if chat and not self.tokenizer.chat_template:
            raise BrokenReward(
                f"reward {self.name} cannot read conversations: its tokenizer has no chat template"
            )
        texts: Any = [p + c for p, c in zip(prompts, completions, strict=True)]
        if chat:
            texts = [self.tokenizer.apply_chat_template(turns, tokenize=False) for turns in texts]
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        batch = self.tokenizer(
            texts,
            add_special_tokens=not chat,  # a template writes its own
            padding=True,
            truncation=True,
            max_length=min(self.tokenizer.model_max_length, limit or 1 << 20),
            return_tensors="pt",
        )
        return batch.to(self.model.device)


def load_judge(name: str, place: str, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The classifier in a folder or on the hub, its weights in `dtype`; safetensors only, and never
    code that came with it. `BrokenReward` where it does not hold all its weights.
    """
    from transformers import AutoModelForSequenceClassification

    model, report = AutoModelForSequenceClassification.from_pretrained(
        place, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"]))
        raise BrokenReward(f"reward {name} is no whole sequence classifier: it has no {missing}")
    return model.to(device).requires_grad_(False).eval()


def load_judge_tokenizer(place: str) -> PreTrainedTokenizerBase:
    """The classifier's own tokenizer, with a padding token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side, tokenizer.truncation_side = "right", "left"
    return tokenizer


def judge_problem(name: str, place: str) -> str | None:
    """Why a model cannot judge, as far as its configuration tells, or None."""
    from transformers import AutoConfig

    if name.startswith((".", "/", "~")) and not Path(place).is_dir():
        return f"{name}: there is no model folder {place}"
    if Path(place).is_dir() and not list(Path(place).glob("*.safetensors")):
        return f"{name}: {place} holds no safetensors file"
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
    except (OSError, ValueError) as error:
        return f"{name} cannot be read: {str(error).strip().splitlines()[0]}"
    kinds = config.architectures or []
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        return f"{name} is no sequence classifier but {', '.join(kinds) or 'of unknown kind'}"
    if config.num_labels != 1:
        return f"{name} has {config.num_labels} outputs; a reward is one number"
    return None
