"""Where a row stands in its file, and what is wrong with a file that cannot be read."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

LINES = (".jsonl", ".ndjson", ".json")
UNEVEN = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")  # what pandas says


def trouble(loader: str, file: Path, error: Exception) -> str | None:
    """What keeps a loader such as json or csv from reading a file, with the line where it has
    one; None where the file is not to blame.
    """
    if not file.is_file():
        return None
    if not file.stat().st_size or not file.read_bytes().strip():
        return "this file is empty"
    if loader == "json":
        return next(_bad_json(file), None)
    if loader in ("csv", "text"):
        return _bad_text(file, error)
    return None


def unnamed_cells(file: Path) -> str | None:
    """That the first row of a CSV file has more cells than there are names, with its line. Pandas
    would take the first cells for an index, and give every other column the cells of its neighbour.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            names = next(filter(None, reader), [])
            line = reader.line_num + 1
            for cells in reader:
                if cells:
                    break
                line = reader.line_num + 1
            else:
                return None
    except (OSError, UnicodeDecodeError, csv.Error):
        return None  # whoever reads the file tells what is wrong with it
    if len(cells) <= len(names):
        return None
    return f"line {line}: it has {len(cells)} cells, and the first line has {len(names)}"


def of_rows(file: Path) -> list[int]:
    """The line, from 1, of each row of a file of JSON lines; none of other files."""
    if file.suffix not in LINES or _is_array(file):
        return []
    with file.open("rb") as stream:
        return [number for number, line in enumerate(stream, 1) if line.strip()]


def _is_array(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _bad_json(file: Path) -> Iterator[str]:
    """The first mistake in a file of JSON lines, or in a list of rows."""
    if _is_array(file):
        try:
            json.loads(file.read_bytes())
        except ValueError as error:
            yield _not_json(getattr(error, "lineno", 1), error)
        return
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                yield _not_json(number, error)
            else:
                if not isinstance(row, dict):
                    yield f'line {number}: a row must be an object such as {{"text": …}}'


def _not_json(line: int, error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"line {line}: this is not text in UTF-8"
    what = getattr(error, "msg", str(error))
    return f"line {line}: this is not JSON: {what[:1].lower()}{what[1:]}"


def _bad_text(file: Path, error: Exception) -> str | None:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return "this is not text in UTF-8"
    said = UNEVEN.search(f"{error} {error.__cause__}")
    if said:
        expected, line, saw = said.groups()
        return f"line {line}: it has {saw} cells, and the first line has {expected}"
    return "it has a first line with names of columns and no rows" if len(lines) == 1 else None
