"""Matches in a file: JSON, from which prompts and samples come back as they were."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench import Conversation

from .ends import CutOff
from .match import Match


def keep(file: Path, batches: Iterable[list[Match]]) -> None:
    """Write batches of matches."""
    rows = [[[_plain(cell) for cell in match] for match in matches] for matches in batches]
    file.write_text(json.dumps(rows), encoding="utf-8")


def kept(file: Path) -> Iterator[list[Match]]:
    """The batches that were written."""
    for rows in json.loads(file.read_text(encoding="utf-8")):
        yield [Match(*map(_whole, row)) for row in rows]


def _plain(cell: Any) -> Any:
    """A prompt or a sample as JSON holds it: what is more than text is an object."""
    match cell:
        case Conversation():
            return {"turns": cell.turns, "tools": cell.tools}
        case CutOff():
            return {"text": cell, "ids": cell.ids}
    return cell


def _whole(cell: Any) -> Any:
    match cell:
        case {"turns": turns, "tools": tools}:
            return Conversation(tuple(turns), tuple(tools))
        case {"text": text, "ids": ids}:
            return CutOff.of(text, ids)
    return cell
