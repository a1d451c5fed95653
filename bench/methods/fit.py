"""How many rows of a batch pass the model at once, where the suite leaves that to the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.accounting import resources
from bench.methods import in_parts
from bench.methods.learning import backward
from bench.system import ranks
from bench.system.random_state import RandomState

if TYPE_CHECKING:
    from bench.methods.state import SessionState

B = TypeVar("B")


def gradient(
    session: SessionState, batch: B, loss_of: Callable[[B], Tensor], optimizer: Optimizer
) -> Tensor:
    """As `backward`. Where memory runs out and the suite says `micro: auto`, the step begins anew
    with half the rows: what the failed try charged, drew and used is forgotten.
    """
    if ranks.count() > 1:
        return in_parts.backward(session, batch, loss_of, optimizer)
    while True:
        rows = session.rows_at_once
        begun = _Bookmark(session) if session.micro == "auto" else None
        try:
            loss = backward(batch, session.batch_size // rows, loss_of, optimizer)
            session.log.micro = rows if begun else None
            return loss
        except (RuntimeError, MemoryError) as error:
            if begun is None or rows == 1 or not resources.ran_out_of_memory(error):
                raise
        # only here, where the error is gone, is the memory free that its frames held
        optimizer.zero_grad()
        begun.go_back(session)
        session.log.micro = fewer(session.batch_size, rows)


def fewer(size: int, rows: int) -> int:
    """The largest part of a batch that divides it and is at most half as large."""
    return next(n for n in range(rows // 2, 0, -1) if size % n == 0)


class _Bookmark:
    """The beginning of a step: what was charged, drawn and used until then."""

    def __init__(self, session: SessionState) -> None:
        session.log.memory.note(session.device)
        self._uncharge = session.ledger.bookmark()
        self._spent = session.ledger.spent("seconds")
        self._drawn = RandomState(session.device)

    def go_back(self, session: SessionState) -> None:
        self._uncharge()
        resources.let_go()
        resources.restart_peak(session.device)
        self._drawn.restore()
        resources.synchronize(session.device)
        lost = session.ledger.spent("seconds") - self._spent
        session.ledger.paused += lost
        session.log.aside_seconds += lost


def settle_for_trainer(session: SessionState) -> None:
    """Settle `micro: auto` before a trainer is made that cannot begin a step anew: one forward and
    backward pass of the longest rows, unmetered, beside as much memory as AdamW will hold.

    A trainer of pairs passes both answers at once, so a row counts twice.
    """
    learning = [m for m in session.log.models() if any(p.requires_grad for p in m.parameters())]
    if session.micro != "auto" or session.log.micro is not None or not learning:
        return
    model = learning[-1]
    with session.unmetered(), _as_it_was(model):
        while not _fits(session, model, session.rows_at_once) and session.rows_at_once > 1:
            session.log.micro = fewer(session.batch_size, session.rows_at_once)
        session.log.micro = session.rows_at_once


def _fits(session: SessionState, model: Any, rows: int) -> bool:
    trained = [p for p in model.parameters() if p.requires_grad]
    try:
        held = [torch.zeros_like(p, dtype=torch.float32) for p in trained for _ in range(2)]
        shape = (2 * rows, session.max_length)
        ids = torch.zeros(shape, dtype=torch.long, device=session.device)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        logits.float().log_softmax(-1).sum().backward()
    except (RuntimeError, MemoryError) as error:
        if not resources.ran_out_of_memory(error):
            raise
        return False
    finally:
        model.zero_grad()
    del held, logits
    return True


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Buffers and random numbers are afterwards as they were before."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng():
        yield
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
