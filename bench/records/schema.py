"""The record of one run."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

BASE = "base"


class Purpose(StrEnum):
    """What a run is for."""

    ROW = "row"  # tested on everything, for the table
    TRIAL = "trial"  # one draw of hyper-parameters, scored on validation data of the targets alone
    CURVE = "curve"  # a row on a share of the budget, tested on the targets alone


SCHEMA_VERSION = 1


Record = dict[str, Any]


RETRIED = ("failed", "crashed", "out of memory")
"""Statuses that another attempt may mend; the others are verdicts."""


FAILURES = (*RETRIED, "diverged", "over budget", "timed out")


def failed(record: Record) -> bool:
    """Whether a run is one that should not have ended so; a trial may diverge, for that is what
    trying is for.
    """
    return record["status"] in (RETRIED if record.get("purpose") == Purpose.TRIAL else FAILURES)
