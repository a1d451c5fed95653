"""The state of a suite that may be finished: what was shown of it may be shown again."""

from __future__ import annotations

from importlib.metadata import version

from bench.cli.shown import digest
from bench.records.store import Store
from bench.suite.file import resolved
from bench.suite.plan import make_plan
from bench.suite.schema import Suite
from bench.system.entry_points import PACKAGE
from bench.system.location import versions

FOLDERS = ("records", "items", "report")


def state(suite: Suite, kind: str, store: Store) -> str:
    """A hash of all that decides what a suite has to run and to show: the suite and its data, and
    each file of the results by time and size. No record is read.
    """
    around = versions(store.folder)
    return digest(
        {
            "bench": version(PACKAGE),
            "folder": str(store.folder),
            "suite": resolved(suite),
            "runs": [run.id for run in make_plan(suite, kind)],
            "plan": [around.get(name) for name in ("plan.json", "suite.yaml")],
            "files": [sorted(versions(store.folder / name).items()) for name in FOLDERS],
        }
    )
