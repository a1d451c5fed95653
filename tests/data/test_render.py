"""What the assistant says, found in conversations that real chat templates render."""

from __future__ import annotations

from pathlib import Path

import pytest
import trl

from bench.data.chat import Conversation
from bench.data.render import IGNORED, encode_reply
from bench.system.errors import UserError
from bench.tiny.tokenizer import bpe_tokenizer

KNOWN = Path(str(trl.__file__)).parent / "chat_templates"
ASKED = Conversation(({"role": "user", "content": "add 2 and 1 ?"},))
SAID = Conversation(
    (
        {"role": "assistant", "content": "three"},
        {"role": "user", "content": "add 3 and 1 ?"},
        {"role": "assistant", "content": "four"},
    )
)


def learned(template: str) -> str:
    """The text under the loss, by a template without marks for it."""
    tokenizer = bpe_tokenizer(["three four"], 300)
    tokenizer.chat_template = (KNOWN / f"{template}.jinja").read_text()
    _, labels = encode_reply(ASKED, SAID, tokenizer)
    return str(tokenizer.decode([label for label in labels if label != IGNORED]))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("qwen2_5", "three<|im_end|>\nfour<|im_end|>\n"),
        ("phi3", "three<|end|>\nfour<|end|>\n<eos>"),  # an end of the whole alone
    ],
)
def test_every_turn_of_the_assistant_is_learned(template: str, text: str) -> None:
    assert learned(template) == text


@pytest.mark.parametrize("template", ["qwen3", "qwen3_5_think"])
def test_earlier_turns_that_cannot_be_found_are_refused(template: str) -> None:
    with pytest.raises(UserError, match="renders earlier turns of the assistant differently"):
        learned(template)
