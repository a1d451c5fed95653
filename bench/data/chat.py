"""Conversations in TRL's shape: lists of turns such as {"role": "user", "content": "Hello"}.

The suite decides once whether tasks are conversations. Where they are, the tokenizer's chat
template renders them, in training and in evaluation alike, and plain prompts become a user's turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from bench.data.formats import COLUMNS, Format
from bench.system.errors import UserError, nearest

if TYPE_CHECKING:
    from datasets import Dataset

ROLES = ("system", "developer", "user", "assistant", "tool")
ASKING = ("user", "tool")
OPENING = ("system", "developer", "user")
REPLIES = frozenset({"completion", "chosen", "rejected", "completions"})
OF_MESSAGES = (
    Format.PROMPT_COMPLETION,
    Format.INSTRUCTION,
    Format.UNPAIRED_PREFERENCE,
    Format.PROMPT_ONLY,
)
"""Formats whose rows one conversation can give."""
NEEDS_CHAT = "holds conversations, which need a chat template: add chat: true to the suite"
Turn = dict[str, Any]


class ChatSpec(BaseModel):
    """Whether and how all prompts of a suite are turns of a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str | None = Field(
        default=None, description="system turn of every conversation that has none of its own"
    )
    template: str | None = Field(
        default=None,
        description="a Jinja file, relative to the suite file [default: the tokenizer's own]",
    )

    def template_text(self, folder: Path) -> str | None:
        """The content of the template file; a `UserError` where there is no such file."""
        if self.template is None:
            return None
        file = folder / self.template
        if not file.is_file():
            raise UserError(f"chat: there is no template file {file}")
        return file.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Conversation:
    """Turns in TRL's shape, and the tools that the chat template lists."""

    turns: tuple[Turn, ...]
    tools: tuple[Any, ...] = ()

    def __add__(self, other: Conversation | str) -> Conversation:
        """The conversation goes on; a text is the assistant's next turn."""
        return Conversation((*self.turns, *as_turns(other)), self.tools)


Content = str | Conversation
"""A prompt or a completion: plain text, or turns."""


def is_turns(cell: Any) -> bool:
    """Whether a cell of a dataset holds a conversation."""
    return isinstance(cell, list) and bool(cell) and isinstance(cell[0], Mapping)


def mistake(turns: Any) -> str | None:
    """What is wrong with a list of turns, or None."""
    if not isinstance(turns, list):
        return f"a conversation is a list of turns, not {type(turns).__name__}"
    if not turns:
        return "the conversation has no turns"
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, Mapping):
            return f'turn {number} is {turn!r:.60}, not {{"role": …, "content": …}}'
        role = turn.get("role")
        if role not in ROLES:
            hint = nearest(str(role), ROLES)
            return f"turn {number} has the role {role!r}{hint} (roles: {', '.join(ROLES)})"
        if not isinstance(turn.get("content"), str) and not turn.get("tool_calls"):
            return f"turn {number} ({role}) has no text as its content"
    return None


def misplaced(column: str, turns: Sequence[Turn]) -> str | None:
    """Why turns that are well cannot stand in a column of a format, or None."""
    roles = [turn["role"] for turn in turns]
    if column in REPLIES and roles and roles[0] in OPENING:
        return f"it begins with a turn of {roles[0]}, which belongs to the prompt"
    if column in REPLIES and "assistant" not in roles:
        return "there is no turn of the assistant"
    if column == "text" and not roles:
        return "there is no turn"
    if column == "prompt" and not roles:
        return "there is no turn before the assistant's first"
    if column == "prompt" and roles[-1] not in ASKING:
        return f"it must end with a turn of {' or '.join(ASKING)}, and ends with {roles[-1]}"
    return None


def spread(row: Mapping[str, Any], format: Format) -> dict[str, Any]:
    """A row of `messages`, or of a preference whose answers hold their prompt, in the columns of
    its format.

    The prompt ends before the assistant's first turn, or where chosen and rejected part.
    """
    found = dict(row)
    if format == Format.PREFERENCE and _holds_prompt(row):
        return found | _without_shared_start(row["chosen"], row["rejected"])
    messages: Any = row.get("messages")
    if messages != [] and not is_turns(messages):
        return found
    if format == Format.LANGUAGE_MODELING:
        return {"text": messages} | found
    first = next((i for i, t in enumerate(messages) if t.get("role") == "assistant"), len(messages))
    said = messages[first:]
    made = {"prompt": messages[:first], "completion": said}
    if format == Format.PROMPT_ONLY:
        found = {"answer": said[0].get("content") if said else None} | found
    # a plain prompt beside messages is their question alone, without the system's turn
    alone = REPLIES.isdisjoint(row) and format in OF_MESSAGES and not is_turns(row.get("prompt"))
    return found | made if alone and first else made | found


def _holds_prompt(row: Mapping[str, Any]) -> bool:
    """Whether chosen and rejected begin with the prompt. As in TRL, a plain prompt beside whole
    conversations asks for the second time.
    """
    if not {"chosen", "rejected"} <= row.keys():
        return False
    prompt, chosen, rejected = row.get("prompt"), row["chosen"], row["rejected"]
    if "prompt" not in row:
        return True
    if not (isinstance(prompt, str) and is_turns(chosen) and is_turns(rejected)):
        return False
    shared = chosen[: shared_length(chosen, rejected)]
    asked = [turn.get("content") for turn in shared if turn.get("role") == "user"]
    return prompt.strip() in [text.strip() for text in asked if isinstance(text, str)]


def _without_shared_start(chosen: Any, rejected: Any) -> dict[str, Any]:
    """As TRL's `extract_prompt`: what both begin with is the prompt."""
    if type(chosen) is not type(rejected) or not isinstance(chosen, str | list):
        return {"prompt": ""}  # whoever looks at chosen and rejected tells what is wrong with them
    end = shared_length(chosen, rejected)
    if isinstance(chosen, str) and chosen[:end].endswith(" "):
        end -= 1  # the space belongs to the completion's first word
    return {"prompt": chosen[:end], "chosen": chosen[end:], "rejected": rejected[end:]}


def shared_length(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many of their first elements are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def settled(data: Dataset, task: str, format: Format, chat: ChatSpec | None) -> Dataset:
    """The rows as the suite wants them: plain text without a chat, and turns with one. Text to
    continue stays plain.
    """
    if chat is None:
        if column := talking(data[0] if len(data) else {}, format):
            raise UserError(f"task {task}, {format}: {column} {NEEDS_CHAT}")
        return data
    return data.map(
        lambda row: in_turns(row, chat), load_from_cache_file=False, keep_in_memory=True
    )


def talking(row: Mapping[str, Any], format: Format) -> str | None:
    """The first column that holds conversations, or None."""
    cells = ((name, row.get(name)) for name in COLUMNS[format])
    return next((name for name, cell in cells if is_turns(cell) or _is_several(cell)), None)


def in_turns(row: Mapping[str, Any], chat: ChatSpec) -> dict[str, Any]:
    """A row as turns of a conversation. Text to continue stays plain."""
    return {name: _in_turns(name, cell, chat) for name, cell in row.items()}


def _is_several(cell: Any) -> bool:
    return isinstance(cell, list) and bool(cell) and is_turns(cell[0])


def _in_turns(column: str, cell: Any, chat: ChatSpec) -> Any:
    match column:
        case "prompt":
            turns = [{"role": "user", "content": cell}] if isinstance(cell, str) else cell
            return _with_system(turns, chat)
        case "text" if is_turns(cell):
            return _with_system(cell, chat)
        case "completion" | "chosen" | "rejected":
            return _reply(cell)
        case "completions":
            return [_reply(one) for one in cell]
        case _:
            return cell


def _with_system(turns: list[Turn], chat: ChatSpec) -> list[Turn]:
    if chat.system is None or turns[0]["role"] == "system":
        return turns
    return [{"role": "system", "content": chat.system}, *turns]


def _reply(cell: Any) -> list[Turn]:
    """An assistant's turn. A template puts its own space before it, as lm-eval expects."""
    return [{"role": "assistant", "content": cell.strip()}] if isinstance(cell, str) else cell


def opened(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns of a dataset with each conversation as one object, so that a method need not know
    whether a prompt is text or turns.
    """
    count = len(next(iter(rows.values()), []))
    tools = rows.get("tools", [None] * count)
    return {
        name: [_opened(cell, tool) for cell, tool in zip(cells, tools, strict=True)]
        for name, cells in rows.items()
        if name != "tools"
    }


def _opened(cell: Any, tools: Any) -> Any:
    if is_turns(cell):
        return Conversation(tuple(_filled(turn) for turn in cell), tuple(listed(tools)))
    if _is_several(cell):
        return [_opened(one, tools) for one in cell]
    return cell


def _filled(value: Any) -> Any:
    """A table gives every object in a column all keys; those without a value were not there."""
    if isinstance(value, Mapping):
        return {key: _filled(one) for key, one in value.items() if one is not None}
    return [_filled(one) for one in value] if isinstance(value, list) else value


def listed(tools: Any) -> list[Any]:
    """The tools in a cell, which may be JSON; a `UserError` where they are no list."""
    if tools is None or tools == "":
        return []
    try:
        found = json.loads(tools) if isinstance(tools, str) else _filled(tools)
    except ValueError:
        found = tools
    if found is None or isinstance(found, list):
        return found or []
    raise UserError(f"tools must be a list of tools, or JSON of one (it is {tools!r:.40})")


def content(cell: Any) -> Content:
    """A cell of a dataset, or what `opened` made of it, as text or as a conversation."""
    return _opened(cell, None)


def as_turns(content: Content) -> tuple[Turn, ...]:
    if isinstance(content, Conversation):
        return content.turns
    return ({"role": "assistant", "content": content},)
