"""What a configuration takes from the model, the tokenizer or the data at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import Format

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench import Session

LOOKED_AT = 64
"""Training rows in which common parts of prompts are looked for, without a model."""


def depth(session: Session, model: PreTrainedModel) -> int:
    """Number of decoder layers."""
    return model.config.get_text_config().num_hidden_layers


def width(session: Session, model: PreTrainedModel) -> int:
    """Width of the hidden states."""
    return model.config.get_text_config().hidden_size


def tokenizer(session: Session, model: PreTrainedModel) -> str:
    """Where PEFT finds the tokenizer."""
    return session.start.tokenizer_location


def examples(session: Session, model: PreTrainedModel) -> str:
    """The first training rows as text."""
    rows = session.dataset(Format.PROMPT_COMPLETION)[:8]
    pairs = zip(rows["prompt"], rows["completion"], strict=True)
    return "\n".join(_text(prompt) + _text(completion) for prompt, completion in pairs)


def _text(content: str | list[dict[str, str]]) -> str:
    """A text, or what is said in turns."""
    if isinstance(content, str):
        return content
    return "".join(f"{turn['content']}\n" for turn in content)


def vocabulary_modules(session: Session, model: PreTrainedModel) -> list[str]:
    """Names of the embedding and of the output head."""
    whole = (model.get_input_embeddings(), model.get_output_embeddings())
    return [name.rpartition(".")[2] for name, module in model.named_modules() if module in whole]


def tied(session: Session, model: PreTrainedModel) -> bool:
    """Whether embedding and output head are one and the same."""
    return bool(model.config.get_text_config().tie_word_embeddings)


def linear_modules(model: PreTrainedModel) -> list[str]:
    """Full names of all linear layers but the output head, which is what PEFT calls all-linear."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head
    ]


def linear_weights(session: Session, model: PreTrainedModel) -> list[str]:
    """Names of the weight matrices of the layers, and of the stacked ones of experts, as parameters
    rather than modules.
    """
    stacked = [name for name, weight in model.named_parameters() if weight.ndim == 3]
    return [f"{name}.weight" for name in linear_modules(model)] + stacked


def common_tokens(session: Session, model: PreTrainedModel) -> list[int]:
    """The tokens that stand in every prompt, such as a beginning of sequence or a question mark;
    else the special tokens.
    """
    shared = set.intersection(*map(set, _prompts(session)))
    return sorted(shared or session.tokenizer.all_special_ids)


def common_ending(session: Session) -> list[int]:
    """The longest run of tokens that every prompt ends in; empty where there is none."""
    prompts = [prompt[::-1] for prompt in _prompts(session)]
    shared = 0
    while all(len(p) > shared and p[shared] == prompts[0][shared] for p in prompts):
        shared += 1
    return prompts[0][:shared][::-1]


def _prompts(session: Session) -> list[list[int]]:
    return session.prompt_ids(session.dataset(Format.PROMPT_COMPLETION)[:LOOKED_AT]["prompt"])
