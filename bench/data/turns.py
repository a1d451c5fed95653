"""Conversations: lists of turns with a role and content, as TRL has them."""

from __future__ import annotations

from typing import Any

from bench.errors import nearest

ROLES = ("system", "developer", "user", "assistant", "tool")


def mistake(turns: Any) -> str | None:
    """What is wrong with a list of turns such as {"role": "user", "content": "Hi"}, or None."""
    if not isinstance(turns, list):
        return f"a conversation is a list of turns, not {type(turns).__name__}"
    if not turns:
        return "the conversation has no turns"
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict):
            return f"turn {number} is {turn!r:.60}, not an object with role and content"
        role = turn.get("role")
        if role not in ROLES:
            hint = nearest(str(role), ROLES)
            return f"turn {number} has the role {role!r}{hint} (roles: {', '.join(ROLES)})"
        if not isinstance(turn.get("content"), str) and not turn.get("tool_calls"):
            return f"turn {number} ({role}) has no content that is text"
    return None
