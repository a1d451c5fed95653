"""What becomes of trained weights after their evaluation: dropped, kept in the cache, or put where
the suite says.
"""

from __future__ import annotations

import shutil

from bench.execution.worker import Job
from bench.suite import file as suite_file
from bench.suite.schema import DROP, KEEP, Suite
from bench.system.errors import UserError
from bench.system.files import write_atomically
from bench.system.location import location, put_folder


def begin(suite: Suite) -> None:
    """Put the suite where its artifacts will lie, so that a place that cannot be written to is told
    before anything trains, as a UserError.
    """
    if suite.artifacts in (DROP, KEEP):
        return
    there = location(suite.artifacts) / suite.suite
    try:
        write_atomically(there / "suite.yaml", suite_file.resolved(suite))
    except OSError as error:
        raise UserError(f"{there} cannot be written: {error}") from None


def put_away(job: Job) -> None:
    """Leave no more of a finished run's folder than the suite asks for. UserError where its
    artifact cannot be put where it belongs; then it stays in the cache.
    """
    where = job.suite.artifacts
    if where == KEEP:
        return
    if where != DROP and job.artifact.is_dir():
        put_folder(job.artifact, location(where) / job.suite.suite / job.run.id)
    shutil.rmtree(job.work, ignore_errors=True)
