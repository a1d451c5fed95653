"""What a model is shown so that it can teach itself: its prompt, and a demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import Conversation

if TYPE_CHECKING:
    from bench import Session

    from .sampling import Ids, Model

Content = str | Conversation


def shown(template: str, prompt: Content, demonstration: str) -> Content:
    """A prompt with a demonstration in a template; of a conversation, its last turn."""
    if isinstance(prompt, str):
        return _filled(template, prompt, demonstration)
    *before, last = prompt.turns
    asked = _filled(template, last.get("content") or "", demonstration)
    return replace(prompt, turns=(*before, {**last, "content": asked}))


def text_of(content: Content) -> str:
    """A completion as plain text: what the assistant says in it."""
    if isinstance(content, str):
        return content.strip()
    said = (t.get("content") or "" for t in content.turns if t["role"] == "assistant")
    return "\n".join(said).strip()


def teachers_ids(
    session: Session, teacher: Model, prompts: list[Content], said: Sequence[Ids]
) -> list[Ids]:
    """Token ids of a teacher's prompts, which may be longer than `max_length`; those that would
    pass the model's last position with the longest completion lose their start.
    """
    last = getattr(teacher.config.get_text_config(), "max_position_embeddings", None) or 1 << 20
    return [ids[max(map(len, said)) - last :] for ids in session.prompt_ids(prompts)]


def _filled(template: str, prompt: str, demonstration: str) -> str:
    """Other braces than those of the two places, as code has them, stay as they are."""
    before, after = template.split("{prompt}", 1)
    filled = [part.replace("{demonstration}", demonstration) for part in (before, after)]
    return prompt.join(filled)
