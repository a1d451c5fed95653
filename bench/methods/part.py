"""A part of a session: a session of its own with a share of the budget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from bench.data.order import derive
from bench.methods.state import SessionState

if TYPE_CHECKING:
    from bench.models.start import Start

S = TypeVar("S", bound=SessionState)


@contextmanager
def part_of(session: S, name: str, until: float, start: Start | None) -> Iterator[S]:
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
