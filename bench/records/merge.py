"""Results of one suite that several machines measured, put into one folder. Nothing is lost or
replaced unsaid.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from bench.records.schema import Record
from bench.records.store import Store
from bench.system.errors import UserError
from bench.system.files import write_atomically
from bench.system.location import Location

SPEED = {"seconds", "memory", "tokens_per_second", "decode", "mfu", "gpu", "warnings"}
MEASURED = {*SPEED, "environment", "ledger", "agreement"}
"""Parts of a stage that differ between two honest runs of the same thing: how fast and where."""
ELSEWHERE = {"git", "concurrent_runs", "log", "finished_at"}
"""Parts of a record that do so."""
SHOWN_LINES = 12


def merge(folders: Sequence[Location], to: Location) -> list[str]:
    """Copy records and their per-item outcomes into `to`. Records in `to` come first. Returns
    what was decided, a line each.

    Of two records with one id, one that is ok stands before one that is not, and the earlier
    folder's before the later's. Every record is read, and its checksum verified, before the first
    is written. UserError where a folder holds no results.
    """
    target = Store(to)
    stores = [Store(folder) for folder in folders if folder.resolve() != to.resolve()]
    with target.lock():
        if (to / "records").is_dir():
            stores.insert(0, target)
        chosen: dict[str, tuple[Record, Store]] = {}
        order: dict[str, None] = {}
        notes: list[str] = []
        for store in stores:
            order |= dict.fromkeys(_asked(store))
            for record in store.all():
                notes += _choose(chosen, record, store)
        notes += _suites(stores, target)
        for record, store in chosen.values():
            if store is not target:
                target.put(record, store.items_file(record.id))
        target.ask(list(order))
    return notes


def _asked(store: Store) -> list[str]:
    if not (store.folder / "records").is_dir():
        raise UserError(
            f"{store.folder} holds no results: there is no folder records/ in it; give the results"
            " folder of one suite"
        )
    return store.asked()


def _choose(chosen: dict[str, tuple[Record, Store]], record: Record, store: Store) -> list[str]:
    """Take a record in, unless a better one of the same run is there; a note where the two are not
    equal.
    """
    run = record.id
    if Path(run).name != run:
        raise UserError(
            f"{store.folder}: a record calls itself {run!r}, which cannot be the name of a file;"
            " leave it out"
        )
    if run not in chosen:
        chosen[run] = (record, store)
        return []
    first, holder = chosen[run]
    if first == record:
        return []
    if record.ok and not first.ok:
        chosen[run] = (record, store)
        return [
            f"{run}: took the one in {store.folder}, which is ok; in {holder.folder} it is"
            f" {first.status}"
        ]
    return [
        f"{run}: kept the one in {holder.folder}; the one in {store.folder}"
        f" {_difference(first, record)}"
    ]


def _difference(first: Record, other: Record) -> str:
    """In what a record that was not taken differs from the one that was."""
    if first.status != other.status:
        return f"is {other.status}"
    # Without what only says how fast and where they ran.
    left_out = {**dict.fromkeys(ELSEWHERE, True), "train": MEASURED, "evaluation": MEASURED}
    left_out["batch"] = {"micro"}
    if first.model_dump(exclude=left_out) == other.model_dump(exclude=left_out):
        return "differs in timing, memory or machine only"
    one, two = ({task: s.value for task, s in r.scores.items()} for r in (first, other))
    told = [
        f"{task} {one.get(task)} and {two.get(task)}"
        for task in {**one, **two}
        if one.get(task) != two.get(task)
    ]
    if told:
        return f"has other scores: {', '.join(told)}"
    return "differs in content, though not in scores"


def _suites(stores: list[Store], target: Store) -> list[str]:
    """The first suite.yaml stays or is copied. Returns in which lines others differ."""
    files = [file for store in stores if (file := store.folder / "suite.yaml").is_file()]
    if not files:
        return []
    kept = files[0].read_text(encoding="utf-8")
    write_atomically(target.folder / "suite.yaml", kept)
    notes = []
    for file in files[1:]:
        other = file.read_text(encoding="utf-8")
        told = list(difflib.unified_diff(kept.splitlines(), other.splitlines(), n=0, lineterm=""))
        lines = [line for line in told[2:] if not line.startswith("@@")]
        if len(lines) > SHOWN_LINES:
            lines[SHOWN_LINES:] = [f"and {len(lines) - SHOWN_LINES} more lines"]
        if other != kept:
            what = f"{file} differs from {files[0]}, which was kept:"
            notes.append("\n  ".join([what, *lines]))
    return notes
