"""Nothing trains for free: every backward pass needs a forward pass that was charged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._guards import TracingContext

from bench.accounting.ledger import Ledger
from bench.system.errors import Uncharged


@contextmanager
def no_free_training(ledger: Ledger) -> Iterator[None]:
    """Raise `Uncharged` at the first backward pass that goes beyond the charged forward passes.

    Every charged pass with gradients on allows one backward pass. A model that a method loaded
    itself, or whose hooks were taken off, has none.
    """
    doors = {name: getattr(torch.autograd, name) for name in ("backward", "grad")}
    inside = False

    def watched(door: Callable[..., Any]) -> Callable[..., Any]:
        def through(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            # activation checkpointing goes back within a backward pass; a compiler goes back to
            # see what it would compute
            if inside or TracingContext.try_get() is not None:
                return door(*args, **kwargs)
            # with create_graph it is a gradient that is itself a part of a loss
            if not (kwargs.get("create_graph") or ledger.suspended):
                ledger.backward_passes += 1
                if ledger.backward_passes > ledger.learning_passes:
                    raise Uncharged(
                        "a model was trained that the session did not hand out, or whose meter was"
                        " removed: nobody was charged for the pass before this gradient"
                    )
            inside = True
            try:
                return door(*args, **kwargs)
            finally:
                inside = False

        return through

    for name, door in doors.items():
        setattr(torch.autograd, name, watched(door))
    try:
        yield
    finally:
        for name, door in doors.items():
            setattr(torch.autograd, name, door)
