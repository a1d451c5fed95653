"""A results folder for notebooks: its records, items and table as DataFrames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from bench.analysis.analyze import analyze
from bench.analysis.frame import frame
from bench.analysis.shape import Analysis
from bench.records.schema import Record
from bench.records.store import Store
from bench.system.errors import UserError
from bench.system.location import location


@dataclass(frozen=True)
class Results:
    """The results of one suite. Everything is read when it is first asked for."""

    store: Store

    @cached_property
    def runs(self) -> list[Record]:
        """The records as objects, one per run, in the order of the plan."""
        return self.store.planned()

    @cached_property
    def records(self) -> pd.DataFrame:
        """One row per run and one column per field of its record, such as `train.seconds.train`."""
        return pd.json_normalize([record.model_dump(mode="json") for record in self.runs])

    @cached_property
    def items(self) -> pd.DataFrame:
        """One row per run and item: run, recipe, seed, task, part, doc_id, score."""
        rows = [
            (record.id, record.recipe, record.seed, *item, score)
            for record in self.runs
            for item, score in self.store.items(record.id).items()
        ]
        columns = ["run", "recipe", "seed", "task", "part", "doc_id", "score"]
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def analysis(self) -> Analysis:
        """What may be concluded: comparable groups, intervals, tie groups and caveats."""
        return analyze(self.store)

    @property
    def table(self) -> pd.DataFrame:
        """One row per recipe, the columns of `report/table.csv`."""
        return frame(self.analysis.whole_rows())


def load(folder: str | Path) -> Results:
    """The results in the folder of one suite, such as results/quickstart. UserError where it holds
    none.
    """
    results = Results(Store(location(folder)))
    if not results.runs:
        raise UserError(f"{folder} holds no records yet")
    return results
