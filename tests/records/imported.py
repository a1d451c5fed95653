"""What an import left on disk."""

from __future__ import annotations

import csv
from pathlib import Path

from bench.records.schema import Record
from bench.records.store import Store


def records_in(folder: Path) -> dict[str, Record]:
    return {record.recipe: record for record in Store(folder).planned()}


def table_in(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "report/table.csv").open() as stream:
        return {row["recipe"]: row for row in csv.DictReader(stream)}
