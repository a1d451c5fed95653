"""Conversations as tokens: the chat template renders them, and says what the assistant says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bench.data.chat import Content, Conversation, shared_length
from bench.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
"""What a chat template marks the assistant's tokens with."""
EARLIER = (
    "the chat template renders earlier turns of the assistant differently from the last, so what"
    " they say cannot be found in a conversation: give a template that marks it with"
    " {% generation %}, as TRL's training templates do, as chat: {template: file.jinja}"
)
Encoded = tuple[list[int], list[int]]
"""Token ids and labels of one row."""


def ids_of(
    conversation: Conversation, tokenizer: PreTrainedTokenizerBase, *, asks: bool
) -> list[int]:
    """Token ids of a conversation as the chat template renders it; where it `asks`, the head of the
    assistant's next turn is added.
    """
    return _rendered(conversation, tokenizer, asks)["input_ids"]


def encode_reply(
    prompt: Content, completion: Content, tokenizer: PreTrainedTokenizerBase
) -> Encoded:
    """Token ids of a prompt and its completion; labels cover the assistant's tokens of the
    completion alone.

    They are those that the template marks with {% generation %}, as in TRL's
    `assistant_only_loss`. Where it marks none, they are what each of the assistant's turns adds to
    the prompt for it, as in TRL's `completion_only_loss`.
    """
    if isinstance(prompt, str):
        raise UserError("a batch holds plain prompts beside conversations")
    whole = prompt + completion
    marked = bool(MARKED.search(_template(tokenizer, whole)))
    rendered = _rendered(whole, tokenizer, False, return_assistant_tokens_mask=marked)
    ids: list[int] = rendered["input_ids"]
    begin = shared_length(ids_of(prompt, tokenizer, asks=True), ids)
    if marked:
        mask = [*[0] * begin, *rendered["assistant_masks"][begin:]]
    else:
        mask = [0] * len(ids)
        for first, last in _spans(whole, len(prompt.turns), ids, tokenizer):
            mask[first:last] = [1] * (last - first)
    return ids, [token if learned else IGNORED for token, learned in zip(ids, mask, strict=True)]


def _spans(
    whole: Conversation, behind: int, ids: list[int], tokenizer: PreTrainedTokenizerBase
) -> list[tuple[int, int]]:
    """Where in the ids each of the assistant's turns lies, from turn number `behind` on."""
    spans = []
    for number in range(behind, len(whole.turns)):
        if whole.turns[number]["role"] == "assistant":
            before = Conversation(whole.turns[:number], whole.tools)
            first = shared_length(ids_of(before, tokenizer, asks=True), ids)
            last = len(ids)
            if number + 1 < len(whole.turns):
                upto = Conversation(whole.turns[: number + 1], whole.tools)
                alone = ids_of(upto, tokenizer, asks=False)
                last = shared_length(alone, ids)
                # some templates end a whole conversation, and no earlier turn, with another token
                if last <= first or last < len(alone) - 1:
                    raise UserError(EARLIER)
            spans.append((first, last))
    return spans


def _rendered(
    conversation: Conversation, tokenizer: PreTrainedTokenizerBase, asks: bool, **more: Any
) -> Any:
    from jinja2 import TemplateError

    has_template(tokenizer)
    try:
        return tokenizer.apply_chat_template(
            list(conversation.turns),
            tools=list(conversation.tools) or None,
            add_generation_prompt=asks,
            tokenize=True,
            return_dict=True,
            **more,
        )
    except TemplateError as error:
        begins = f"{conversation.turns[0]!r:.100}"
        raise UserError(
            f"the chat template refuses the conversation that begins {begins}: {error}"
        ) from None


def has_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """A `UserError` where a tokenizer has no chat template."""
    if not tokenizer.chat_template:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template: take an instruct"
            " model, or give one as chat: {template: file.jinja}"
        )


def _template(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> str:
    has_template(tokenizer)
    return tokenizer.get_chat_template(None, list(conversation.tools) or None)
