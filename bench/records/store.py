"""Records on disk: one JSON file per run, written whole or not at all. Nobody else reads or writes
them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench.records.migrate import migrated
from bench.records.schema import SCHEMA_VERSION, Record, complaint
from bench.system.errors import UserError
from bench.system.files import write_atomically
from bench.system.location import Location, Remote, read_each, versions

if TYPE_CHECKING:
    import pyarrow as pa


AGAIN = "again"
"""The folder in a results folder that holds runs which were done once more."""


class Store:
    """The results folder of one suite."""

    def __init__(self, folder: Location) -> None:
        self.folder = folder
        self.report = folder / "report"
        self._read: dict[str, tuple[Any, Record]] = {}
        """Records by name of file, with the version of the file that they were read from."""

    @property
    def again(self) -> Store:
        """Where the same runs are kept that were done once more, to confirm these."""
        return Store(self.folder / AGAIN)

    def repeated(self, runs: Iterable[str]) -> list[Record]:
        """Of these runs, the records in `again` that were made after the ones here."""
        before = {record.id: record.finished_at or "" for record in self.found(runs)}
        later = self.again.found(before)
        return [record for record in later if (record.finished_at or "") > before[record.id]]

    @contextmanager
    def lock(self, part: str = "") -> Iterator[None]:
        """Keep a second `bench run` of the same suite, or of the same part of it, away. Elsewhere
        than on a disk nobody is kept away, as every file is put whole; but what cannot be written
        is told now.
        """
        import fcntl

        name = f".lock-{part}" if part else ".lock"
        if isinstance(self.folder, Remote):
            (self.folder / name).write_bytes(b"")
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / name).open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another bench run is at work in {self.folder}") from None
            yield

    def begin(self, suite_yaml: str, runs: list[str]) -> None:
        """Write down the suite as resolved and which runs it asks for; older records stay but are
        not reported.
        """
        write_atomically(self.folder / "suite.yaml", suite_yaml)
        self.ask(runs)

    def ask(self, runs: list[str]) -> None:
        """Write down which runs are reported, and in which order."""
        write_atomically(self.folder / "plan.json", json.dumps({"runs": runs}, indent=1) + "\n")

    def asked(self) -> list[str]:
        """The runs of the last plan, whether they exist or not; all that exist where there is no
        plan.
        """
        plan = self.folder / "plan.json"
        return (
            json.loads(plan.read_text())["runs"]
            if plan.is_file()
            else [record.id for record in self.all()]
        )

    def has(self, run: str) -> bool:
        return self._record_file(run).is_file()

    def put(self, record: Record, items: Location) -> None:
        """Keep a record and its per-item outcomes; the record last, so that whoever sees it finds
        them, and none of an earlier record.
        """
        kept = self.items_file(record.id)
        if items.is_file():
            write_atomically(kept, items.read_bytes())
        elif kept.is_file():
            kept.unlink()
        body = record.model_dump(mode="json")
        signed = {**body, "checksum": _checksum(body)}
        text = json.dumps(signed, ensure_ascii=False, indent=1) + "\n"
        write_atomically(self._record_file(record.id), text)

    def get(self, run: str) -> Record:
        file = self._record_file(run)
        return _read(file, file.read_bytes())

    def found(self, runs: Iterable[str]) -> list[Record]:
        """The records of these runs as far as they exist, in this order. A file is read again only
        where another has taken its place.
        """
        folder = self.folder / "records"
        there, runs = versions(folder), list(runs)
        names = [f"{run}.json" for run in runs if f"{run}.json" in there]
        new = [n for n in names if n not in self._read or self._read[n][0] != there[n]]
        for name, content in read_each(folder, dict.fromkeys(new)).items():
            self._read[name] = (there[name], _read(folder / name, content))
        return [self._read[name][1] for name in names]

    def planned(self) -> list[Record]:
        """The records of the last plan, in its order, as far as they exist; all records where there
        is no plan.
        """
        if not ((self.folder / "plan.json").is_file() or (self.folder / "records").is_dir()):
            raise UserError(f"{self.folder} holds no results: there is no folder records/ in it")
        return self.found(self.asked())

    def all(self) -> list[Record]:
        """Every record that is kept, in the order of their names."""
        names = sorted(versions(self.folder / "records"))
        return self.found(n.removesuffix(".json") for n in names if n.endswith(".json"))

    def items(self, run: str) -> dict[tuple[str, str, int], float]:
        """Outcome of every item of a run, by task, part of the task and document number."""
        if (table := self.items_table(run)) is None:
            return {}
        columns = table.to_pydict()
        keys = zip(columns["task"], columns["part"], columns["doc_id"], strict=True)
        return dict(zip(keys, columns["score"], strict=True))

    def items_table(self, run: str) -> pa.Table | None:
        """The same as a table with the columns task, part, doc_id and score; None without items."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = self.items_file(run)
        if not file.is_file():
            return None
        # threads and reading ahead cost more than a file so small takes
        content = pa.BufferReader(file.read_bytes())
        return pq.ParquetFile(content, pre_buffer=False).read(use_threads=False)

    def _record_file(self, run: str) -> Location:
        return self.folder / "records" / f"{run}.json"

    def items_file(self, run: str) -> Location:
        """Where its per-item outcomes are kept, if it has any."""
        return self.folder / "items" / f"{run}.parquet"


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _read(file: Location, content: bytes) -> Record:
    """A record whose checksum holds, in the present shape."""
    try:
        body = json.loads(content)
        stated, version = body.pop("checksum"), int(body["schema_version"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{file} is no record of ours; move it away and run again") from None
    if stated != _checksum(body):
        raise UserError(
            f"{file} was changed after it was written (its checksum differs); restore it, or delete"
            " it and run again"
        )
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{file} was written by a newer version of bench: its schema is version {version}, and"
            f" this one reads up to {SCHEMA_VERSION}; upgrade bench"
        )
    try:
        return Record.model_validate(migrated(body))
    except ValidationError as error:
        raise UserError(f"{file} does not fit the schema of records: {complaint(error)}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} does not fit the schema of records: {error!r}") from None
