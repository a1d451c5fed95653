"""One optimizer step's gradient on several devices, each rank with its part of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from bench.data.order import derive
from bench.methods.learning import one_per_item, split, trained
from bench.system import ranks
from bench.system.random_state import RandomState
from bench.system.ranks import by_kind, here, is_sharded

if TYPE_CHECKING:
    from torch.nn import Parameter
    from torch.optim import Optimizer

    from bench.methods.state import SessionState

B = TypeVar("B")


def backward(
    session: SessionState, batch: B, loss_of: Callable[[B], Tensor], optimizer: Optimizer
) -> Tensor:
    """As `learning.backward`: every rank has the gradient of the whole batch in the end, and its
    mean loss.

    Sharded layers need all ranks in every pass. So a rank that has no part left passes one that
    another has, which counts nothing.
    """
    pieces = list(split(batch, session.batch_size // session.rows_at_once))
    mine = pieces[ranks.number() :: ranks.count()]
    spare = -(-len(pieces) // ranks.count()) - len(mine)
    sums = torch.zeros(2, dtype=torch.float64, device=session.device)
    with session._account.in_parts(session.device), _own_random_numbers(session):
        for piece in mine:
            losses = one_per_item(loss_of(piece))
            losses.sum().backward()
            sums[0] += losses.detach().sum()
            sums[1] += len(losses)
        for _ in range(spare):
            with session.ledger.given_away():
                (0.0 * loss_of(pieces[0]).sum()).backward()
    ranks.add_up(sums)
    items = sums[1].clamp(min=1)
    parameters = trained(optimizer)
    average(parameters)
    for parameter in parameters:
        if parameter.grad is not None:
            here(parameter.grad).mul_(ranks.count() / items)
    return sums[0] / items


def average(parameters: list[Parameter]) -> None:
    """Make every rank's own gradient the mean over all ranks. Backward passes have averaged what is
    sharded.
    """
    for parameter in parameters:
        if parameter.grad is not None and not is_sharded(parameter):
            ranks.add_up(parameter.grad).div_(ranks.count())


def clip(parameters: list[Parameter], most: float) -> None:
    """As `torch.nn.utils.clip_grad_norm_`, for parameters of which some may be sharded."""
    if ranks.count() == 1:
        torch.nn.utils.clip_grad_norm_(parameters, most)
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = [_norm(some) for some in by_kind(gradients)]
    factor = (most / (torch.stack(norms).norm() + 1e-6)).clamp(max=1.0) if norms else 1.0
    for gradient in gradients:
        here(gradient).mul_(factor)


def _norm(gradients: list[Tensor]) -> Tensor:
    norm = get_total_norm(gradients)
    return norm.full_tensor() if is_sharded(norm) else norm  # pyright: ignore


@contextmanager
def _own_random_numbers(session: SessionState) -> Iterator[None]:
    """Ranks draw different numbers in here, such as dropout, and go on with the same ones."""
    before = RandomState(session.device)
    torch.manual_seed(derive(session.seed, f"step {session.ledger.steps} of {ranks.number()}"))
    try:
        yield
    finally:
        before.restore()
