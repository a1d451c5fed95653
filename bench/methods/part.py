"""A part of a session: a session of its own with a share of the budget, or an aside that costs
nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.accounting import resources
from bench.data.order import derive

if TYPE_CHECKING:
    from bench.methods.session import Session
    from bench.models.start import Start


@contextmanager
def part_of(session: Session, name: str, until: float, start: Start | None) -> Iterator[Session]:
    """See `Session.stage`."""
    from transformers import set_seed  # it imports what trainers need, seconds long

    folder = session.folder / f"stage-{name}"
    folder.mkdir(parents=True)
    account = session._account
    part = replace(
        session,
        budget=session.budget.part(account.share_spent, until),
        seed=derive(session.seed, name),
        folder=folder,
        memory=session.memory / name,
        start=start or session.start,
        stage_name=f"{session.stage_name}/{name}".strip("/"),
        _data_seed=derive(session._data_seed, name),
        _slack=account.slack,
        _tell=lambda _: session._tell(session.progress),
    )
    set_seed(part.seed)
    with account.delegated():
        try:
            yield part
        finally:
            part.close()


@contextmanager
def aside(session: Session) -> Iterator[None]:
    """See `Session.unmetered`."""
    session.log.memory.note(session.device)
    with session.ledger.suspend(), resources.stopwatch(session.device) as watch:
        yield
        gc.collect()
    resources.restart_peak(session.device)
    session.ledger.paused += watch.seconds
    session.log.aside_seconds += watch.seconds
