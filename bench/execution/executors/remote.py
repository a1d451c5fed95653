"""A run on another machine: the job goes there, and bytes come back. Executors that share no disk
with the driver call `work` there and `unpacked` here.
"""

from __future__ import annotations

import io
import shutil
import socket
import tarfile
import threading
import time
from dataclasses import dataclass

from bench.execution import kept
from bench.execution.artifacts import put_away
from bench.execution.run_job import ITEMS, Outcome, Report, run_job
from bench.execution.worker import Job
from bench.records.schema import Record
from bench.suite.schema import KEEP
from bench.system.errors import UserError


@dataclass(frozen=True)
class Parcel:
    """What a run sends to the driver."""

    record: Record
    items: bytes | None
    """The file with the outcome of every item."""
    work: bytes | None
    """A tar file of its work folder, where the driver keeps artifacts and no disk is shared."""
    node: str


def placed(job: Job, kind: str) -> Job:
    """A job on the devices that its own machine will give it: all that it sees there."""
    return job.on([f"cuda:{i}" if kind == "cuda" else "cpu" for i in range(job.suite.gpus)])


def work(job: Job, report: Report, stop: threading.Event, shared_disk: bool) -> Parcel:
    """Do a job on this machine, in processes of its own. Raises `Stopped` when `stop` is set.

    What is left in `job.work` is a training whose evaluation did not end well, for another attempt.
    On a shared disk the driver takes care of the folder.
    """
    job.suite.start().prepare()
    outcome = run_job(job, report, stop)
    items = outcome.items.read_bytes() if outcome.items.is_file() else None
    packed = None
    if not shared_disk and not kept.evaluation_is_open(outcome.record):
        kept.forget(job)
        packed = _left_over(job)
        shutil.rmtree(job.work, ignore_errors=True)
    return Parcel(outcome.record, items, packed, node())


def sparingly(tell: Report, seconds: float) -> Report:
    """A report that tells of each new stage at once, and else only every so many seconds."""
    told = ("", 0.0)

    def report(stage: str, fraction: float) -> None:
        nonlocal told
        if stage != told[0] or time.monotonic() - told[1] > seconds:
            told = stage, time.monotonic()
            tell(stage, fraction)

    return report


def node() -> str:
    """What people call this machine."""
    return socket.gethostname()


def unpacked(parcel: Parcel, job: Job) -> Outcome:
    """What a parcel holds, as if the job had been done here."""
    if parcel.work is not None:
        shutil.rmtree(job.work, ignore_errors=True)
        with tarfile.open(fileobj=io.BytesIO(parcel.work)) as archive:
            archive.extractall(job.work, filter="data")
    job.work.mkdir(parents=True, exist_ok=True)
    items = job.work / ITEMS
    items.unlink(missing_ok=True)
    if parcel.items is not None:
        items.write_bytes(parcel.items)
    return Outcome(parcel.record, items)


def _left_over(job: Job) -> bytes | None:
    """What the driver is sent of the work folder: all of it where the suite keeps it, or where this
    machine cannot put it where it belongs.
    """
    if job.suite.artifacts == KEEP:
        return _packed(job)
    try:
        put_away(job)
    except UserError:
        return _packed(job)
    return None


def _packed(job: Job) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(job.work, arcname=".")
    return stream.getvalue()
