"""Conversations are checked before anything trains: what they ask, answer and list as tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trl

from ..conftest import Bench
from .own import edit, jsonl

KNOWN = Path(str(trl.__file__)).parent / "chat_templates"
USER = {"role": "user", "content": "Hi"}
SYSTEM = {"role": "system", "content": "Be kind"}
ANSWER = {"role": "assistant", "content": "Hello"}
OTHER = {"role": "assistant", "content": "No"}
AGAIN = {"role": "user", "content": "And now ?"}


def planned(bench: Bench, own: Path, format: str, rows: list[dict[str, Any]], chat: str) -> str:
    """What a plan of these rows tells, mistakes included."""
    jsonl(own, "talks", rows)
    text = (own / "own.yaml").read_text()
    start, end = text.index("    prompt-completion"), text.index("    evaluate")
    source = f"    {format}: {{path: json, data_files: {{train: data/talks.jsonl}}}}\n"
    (own / "own.yaml").write_text(text[:start] + source + text[end:])
    edit(own / "own.yaml", "seeds: 1", f"seeds: 1\nchat: {chat}")
    result = bench("plan", "own.yaml")
    assert "Traceback" not in result.stderr
    assert result.returncode == (2 if result.stderr else 0)
    return " ".join((result.stderr or result.stdout).split())


PAIR = {"prompt": "Hi", "chosen": [USER, ANSWER], "rejected": [USER, OTHER]}
BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "tools that are no JSON": (
        "prompt-completion",
        {"prompt": "Hi", "completion": "Hello", "tools": "a hammer"},
        "data/talks.jsonl, line 2: tools must be a list of tools, or JSON of one (it is 'a hammer",
    ),
    "answers to another question": (
        "preference",
        PAIR | {"prompt": "Bye"},
        "data/talks.jsonl, line 2: chosen cannot be used as chosen: it begins with a turn of user,",
    ),
    "a completion that asks again": (
        "prompt-completion",
        {"prompt": "Hi", "completion": [USER, ANSWER]},
        "completion cannot be used as completion: it begins with a turn of user, which belongs to",
    ),
    "numbers as answers": (
        "preference",
        {"chosen": 1, "rejected": 2},
        "data/talks.jsonl, line 1: chosen is a number (1), where text is needed",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_conversation_is_told_with_its_line(name: str, bench: Bench, own: Path) -> None:
    format, row, expected = BAD[name]
    good = {"prompt": "Hi", "completion": [ANSWER]} if "completion" in row else PAIR
    if isinstance(cell := row.get("completion"), str):
        good = good | {"completion": cell}
    rows = [good, row] if "line 1" not in expected else [row]
    assert expected in planned(bench, own, format, [*rows, *rows], "true")


@pytest.mark.parametrize(("template", "fits"), [("qwen3", False), ("qwen3_training", True)])
def test_a_template_that_hides_earlier_turns_is_told(
    bench: Bench, own: Path, template: str, fits: bool
) -> None:
    """Qwen3 shows thoughts in the last turn alone, so that the turns before were not learned."""
    rows = [{"messages": [USER, ANSWER, AGAIN, OTHER | {"content": f"{n}"}]} for n in range(9)]
    (own / "chat.jinja").write_text((KNOWN / f"{template}.jinja").read_text())
    edit(own / "own.yaml", "max_length: 64", "max_length: 512")
    told = planned(bench, own, "prompt-completion", rows, "{template: chat.jinja}")
    assert ("line 7: reviews, prompt-completion: the chat template renders" in told) is not fits
