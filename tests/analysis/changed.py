"""Real results with changed records among them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis import Analysis, analyze
from bench.records.schema import Record
from bench.records.store import Store

from ..conftest import ROOT

Change = Callable[[dict[str, Any]], None]


class Results:
    """A copy of a real results folder that takes changed copies of its records."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(ROOT / "results/quickstart", folder)
        self.folder = folder
        self.store = Store(folder)
        self.records = {r.recipe: r.model_dump(mode="json") for r in self.store.planned()}
        self.runs = [r["id"] for r in self.records.values()]

    def add(
        self, like: str, change: Change, answers: dict[str, list[float]] | None = None
    ) -> dict[str, Any]:
        """A record like another one but for a change; `answers` replace what it answered, task by
        task.
        """
        record = deepcopy(self.records[like])
        record["id"] = f"added-s0-{len(self.runs):010d}"
        change(record)
        items = self.folder / "items" / f"{self.records[like]['id']}.parquet"
        if answers:
            table = pd.read_parquet(items)
            for task, scores in answers.items():
                table.loc[table["task"] == task, "score"] = scores
                record["evaluation"]["scores"][task]["value"] = sum(scores) / len(scores)
            items = self.folder / "new.parquet"
            table.to_parquet(items, index=False)
        self.store.put(Record.model_validate(record), items)
        self.runs.append(record["id"])
        (self.folder / "plan.json").write_text(json.dumps({"runs": self.runs}))
        return record

    def found(self, together: bool = False) -> Analysis:
        return analyze(self.store, together)
