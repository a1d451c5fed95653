"""What a run may spend and what it did spend, by purpose and in every currency at once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from bench.accounting.budget import CURRENCIES, Budget, Currency
from bench.accounting.gpu import Aside
from bench.system import ranks

WHOLE = 1.0 - 1e-9  # of a budget: shares of it that are added up are rounded
OVERRUN = 0.25  # of the budget: the most by which a last batch may pass its end
COUNTED: tuple[Currency, ...] = ("tokens", "flops", "samples")  # of each purpose
LOOK_EVERY = 8  # passes within a batch: looking at the ledger waits for the device


class BudgetSpent(RuntimeError):
    """A metered model was used after the budget had been spent."""


@dataclass
class Spend:
    """Running totals of one purpose. Tensors stay on the model's device, so that charging never
    waits for it.
    """

    tokens: Tensor | int = 0
    flops: Tensor | float = 0.0
    samples: Tensor | int = 0


@dataclass
class Ledger:
    """What a run did spend, in all currencies at once, by purpose."""

    purposes: dict[str, Spend] = field(default_factory=lambda: defaultdict(Spend))
    steps: int = 0
    learning_passes: int = 0
    """Forward passes with gradients on."""
    backward_passes: int = 0
    purpose: str | None = None
    """What passes are for just now, where whoever makes them has said so."""
    suspended: bool = False
    """While true, nothing is charged or counted: the harness looks at a model."""
    paused: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    _aside: Aside = field(default_factory=Aside)

    @property
    def clock(self) -> float:
        """Seconds since the beginning, without those in which nobody is charged."""
        return time.perf_counter() - self.started - self.paused

    def charged(self, device: torch.device) -> None:
        """Hear that a pass has been charged whose numbers are still on the device."""
        if device.type == "cuda":
            self._aside.mark()

    def spent(self, currency: Currency) -> float:
        """The total over all purposes. On a GPU it waits for the pass that was charged last, and
        not for the backward pass and the step behind it.
        """
        if currency == "seconds":  # all ranks go by one clock
            return ranks.of_first(self.clock)
        if currency == "steps":
            return float(self.steps)
        with self._aside.reading():
            return float(sum(float(getattr(spend, currency)) for spend in self.purposes.values()))

    def bookmark(self) -> Callable[[], None]:
        """Gives what takes back all that is charged and counted from here on, time apart."""
        purposes = self._copied()
        steps, learning, backward = self.steps, self.learning_passes, self.backward_passes

        def take_back() -> None:
            self.purposes.clear()
            self.purposes.update(purposes)
            self.steps, self.learning_passes, self.backward_passes = steps, learning, backward

        return take_back

    @contextmanager
    def passes_for(self, purpose: str) -> Iterator[None]:
        """Charge all passes in here to one purpose, whatever their models were handed out for."""
        before, self.purpose = self.purpose, purpose
        try:
            yield
        finally:
            self.purpose = before

    @contextmanager
    def in_parts(self, device: torch.device) -> Iterator[None]:
        """Several ranks pass a part of a batch each, and every ledger counts them all."""
        before = self._copied()
        yield
        lines = list(product(sorted(self.purposes), COUNTED))
        own = [getattr(self.purposes[name], c) - getattr(before[name], c) for name, c in lines]
        parts = [torch.as_tensor(part, dtype=torch.float64, device=device) for part in own]
        added = ranks.add_up(torch.stack(parts)) if parts else ()
        for (name, c), value in zip(lines, added, strict=True):
            setattr(self.purposes[name], c, getattr(before[name], c) + value)
        self.charged(device)

    @contextmanager
    def given_away(self) -> Iterator[None]:
        """Charge a pass that another rank makes too to nobody; what it is for is still known."""
        before = self._copied()
        yield
        self.purposes.update({name: before[name] for name in self.purposes})

    def _copied(self) -> dict[str, Spend]:
        """What was spent until now; nothing for a purpose that comes later."""
        copies = {name: replace(spend) for name, spend in self.purposes.items()}
        return defaultdict(Spend, copies)

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """Charge and count nothing for a while."""
        before, self.suspended = self.suspended, True
        try:
            yield
        finally:
            self.suspended = before

    def totals(self) -> dict[str, float]:
        return {currency: self.spent(currency) for currency in CURRENCIES}

    def by_purpose(self) -> dict[str, dict[str, float]]:
        return {
            purpose: {currency: float(getattr(s, currency)) for currency in COUNTED}
            for purpose, s in self.purposes.items()
        }


class Account:
    """One ledger held against one budget, and the rule of when to stop.

    The rule: whether the budget is spent is asked at boundaries, which are the request for a batch
    and the step of an optimizer. A batch that began before such a boundary may end, as long as it
    overruns the budget by no more than `slack`; a forward pass after it raises `BudgetSpent`.
    """

    def __init__(
        self,
        budget: Budget,
        ledger: Ledger,
        on_step: Callable[[Optimizer], None] = lambda _: None,
        slack: float | None = None,
    ) -> None:
        self.budget, self.ledger = budget, ledger
        self.slack = OVERRUN * budget.amount if slack is None else slack
        """What the last batch may spend beyond the budget, in the budget's currency."""
        self._before = ledger.spent(budget.currency)
        self.fraction = 0.0
        """Share of the budget that was spent at the last boundary, 0..1."""
        self._on_step = on_step
        self._inside_batch = False
        self._closed = False
        self._passes = 0
        self._in_parts = False
        self._another_counts = False
        self._step_hook = register_optimizer_step_post_hook(self._stepped)

    @property
    def progress(self) -> float:
        """Share of the budget that is spent now, 0..1."""
        share = self.share_spent
        return share if share < WHOLE else 1.0

    @property
    def share_spent(self) -> float:
        """As `progress`, but above 1 where the budget was overrun."""
        if self.budget.amount <= 0:
            return 1.0
        return (self.ledger.spent(self.budget.currency) - self._before) / self.budget.amount

    @contextmanager
    def delegated(self) -> Iterator[None]:
        """Leave the counting of steps to the account of a part for a while; passes are still
        charged.
        """
        self._another_counts = True
        try:
            yield
        finally:
            self._another_counts = False

    @contextmanager
    def in_parts(self, device: torch.device) -> Iterator[None]:
        """Several ranks pass a part of a batch each. Until they have added up nobody knows what is
        spent, so the budget is asked before and after.
        """
        self.demand()
        self._in_parts = True
        try:
            with self.ledger.in_parts(device):
                yield
        finally:
            self._in_parts = False
        self._refuse_overrun()

    def boundary(self) -> bool:
        """Look at the budget; True while some of it is left."""
        self.fraction = self.progress
        self._closed = self.fraction >= 1.0
        return not self._closed

    def open_batch(self) -> bool:
        """As `boundary`, and the work on the batch that follows may end even if it overruns."""
        self._inside_batch = self.boundary()
        return self._inside_batch

    def demand(self) -> None:
        """Raise `BudgetSpent` where no further forward pass is allowed."""
        if self._in_parts:
            return
        if self._closed or (not self._inside_batch and not self.boundary()):
            raise BudgetSpent(
                f"went on after its budget of {self.budget.amount:g} {self.budget.currency} was"
                " spent"
            )
        self._passes += 1
        if self._passes % LOOK_EVERY == 0:
            self._refuse_overrun()

    def _refuse_overrun(self) -> None:
        spent = self.ledger.spent(self.budget.currency) - self._before
        if spent > self.budget.amount + self.slack:
            raise BudgetSpent(
                f"one batch spent more than {self.slack:g} {self.budget.currency} beyond its budget"
                f" of {self.budget.amount:g}"
            )

    def close(self) -> None:
        self._step_hook.remove()

    def _stepped(self, optimizer: Optimizer, *_: Any) -> None:
        if self.ledger.suspended or self._another_counts:
            return
        self.ledger.steps += 1
        self.boundary()
        self._on_step(optimizer)
