"""Sessions on a task that the tiny model gets right about half of the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.accounting.budget import Budget
from bench.data.formats import Format
from bench.methods.method import Method
from bench.methods.objective import measured
from bench.methods.session import Session
from bench.testing import tiny_session
from bench.testing.trials import half_trained

HALF_RIGHT = "tiny/swap"


def half_right(folder: Path, budget: Budget, **changes: Any) -> Session:
    return tiny_session(folder, budget, HALF_RIGHT, start=half_trained(), **changes)


def tokens(session: Session) -> dict[str, float]:
    return {purpose: line["tokens"] for purpose, line in session.ledger.by_purpose().items()}


def objectives(method: Method, session: Session, model: Any) -> tuple[dict[str, float], ...]:
    """Of the start and of the model."""
    before, after = measured(method, session, session.start, model)
    return before["values"], after["values"]


def worthless(task: Any) -> Any:
    """The same task, whose answers nobody can give."""
    from dataclasses import replace

    def load(split: Any) -> Any:
        rows = task.load(Format.PROMPT_ONLY, split).select(range(8))
        return rows.map(lambda row: {"answer": "impossible"})

    return replace(task, loaders={**task.loaders, Format.PROMPT_ONLY: load})
