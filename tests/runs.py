"""A small suite, and what its runs leave on disk."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

SMALL = """\
suite: small
model: tiny
target: tiny/smallest
retain: [tiny/last]
drift: tiny/text
budget: {BUDGET}
batch: {size: 16, max_length: 64}
seeds: SEEDS
methods:
METHODS
"""


FIVE = (
    "  - sft: {lr: 1.0e-3}\n  - instruction: {lr: 1.0e-3}\n  - lora: {lr: 5.0e-3}\n  -"
    " prompt-tuning\n  - prefix-tuning"
)


def write_suite(
    folder: Path, methods: str, budget: str = "tokens: 4k", seeds: str = "1", extra: str = ""
) -> None:
    text = SMALL.replace("BUDGET", budget).replace("SEEDS", seeds).replace("METHODS", methods)
    (folder / "suite.yaml").write_text(text + extra)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found = [
        json.loads(file.read_text()) for file in (folder / "results/small/records").glob("*.json")
    ]
    return {f"{r['recipe']}-s{r['seed']}": r for r in found}


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "results/small/report/table.csv").open() as stream:
        return {row["recipe"]: row for row in csv.DictReader(stream)}
