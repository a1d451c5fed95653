"""What every importer needs: files read with care, names that a file may have, and records kept
beside those that are there.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bench.records.schema import Record
from bench.records.store import Store
from bench.system.errors import UserError


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file; a UserError names the file that holds none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"cannot read {file}: there is no such file") from None
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(
            f"{file}: expected a JSON object with named parts, found a {type(content).__name__}"
        )
    return content


def digest(content: Any) -> str:
    """Ten hexadecimal digits that stand for a JSON value."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def run_id(recipe: str, seed: int, content: Any) -> str:
    """The id of a record, which names its file: a readable part, and a hash of its content."""
    readable = "".join(c if c.isalnum() or c in "._+-" else "-" for c in recipe)
    return f"{readable}-s{seed}-{digest(content)}"


def keep(store: Store, incoming: list[tuple[Record, Path]]) -> list[str]:
    """Put records with their files of per-item outcomes into a store, after those that are there.
    Returns what was replaced.
    """
    notes = []
    with store.lock():
        order = store.asked()
        for record, items in incoming:
            if store.has(record.id) and store.get(record.id) != record:
                notes.append(f"{record.recipe}: replaced the record {record.id} that was there")
            store.put(record, items)
        store.ask(list(dict.fromkeys([*order, *(record.id for record, _ in incoming)])))
    return notes
