"""The phases of a training: each optimizer has a whole schedule of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bench.methods.schedule import anneal

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from bench.accounting.ledger import Account

MOST = 100  # points that a record holds


@dataclass
class Phase:
    """From an optimizer's first step to the end of the budget that it steps in."""

    stage: str
    begun: float
    """Share of the budget, 0..1, that was spent when it took its first step."""
    steps: list[int] = field(default_factory=list)
    """Numbers of its steps in the run, from 1."""
    rates: list[float] = field(default_factory=list)
    """Learning rate of its first group of parameters at each of them."""

    def share(self, spent: float) -> float:
        """Share of the phase, 0..1, that is over when this share of the budget is spent."""
        return (spent - self.begun) / (1.0 - self.begun) if self.begun < 1.0 else 1.0

    def course(self, losses: dict[int, float], most: int) -> dict[str, Any]:
        """As a record holds it: at most so many of its steps, evenly spaced, both ends included."""
        last = len(self.steps) - 1
        count = min(most, last + 1)
        chosen = [round(i * last / max(1, count - 1)) for i in range(count)]
        steps = [self.steps[i] for i in chosen]
        return {
            "stage": self.stage,
            "step": steps,
            "lr": [_short(self.rates[i]) for i in chosen],
            "loss": [_short(losses[n]) if n in losses else None for n in steps],
        }


class Phases:
    """The optimizers that step in one session. A method has nothing to say for it: what was spent
    before an optimizer's first step belongs to an earlier phase.
    """

    def __init__(self, account: Account, begun: list[Phase], stage: str) -> None:
        """`begun` has the phases of the whole run; those of this session are added to it."""
        self._account, self._begun, self._stage = account, begun, stage
        self._known: WeakKeyDictionary[Optimizer, Phase] = WeakKeyDictionary()

    def anneal(self, optimizer: Any) -> None:
        """Set the learning rate of the step that comes."""
        anneal(optimizer, self._of(optimizer).share(self._account.fraction))

    def stepped(self, optimizer: Optimizer, number: int) -> None:
        """Write down the step of that number in the run, which was just taken."""
        phase = self._of(optimizer)
        phase.steps.append(number)
        phase.rates.append(float(optimizer.param_groups[0]["lr"]))

    def _of(self, optimizer: Any) -> Phase:
        own = getattr(optimizer, "optimizer", optimizer)  # a trainer's is wrapped
        if own not in self._known:
            self._known[own] = Phase(self._stage, self._account.fraction)
            self._begun.append(self._known[own])
        return self._known[own]


def journal(phases: list[Phase], losses: dict[int, float]) -> list[dict[str, Any]]:
    """The course of all phases that took a step, in the order in which they began."""
    stepped = [phase for phase in phases if phase.steps]
    most = max(2, MOST // max(1, len(stepped)))
    return [phase.course(losses, most) for phase in stepped]


def _short(value: float) -> float:
    return float(f"{value:.5g}")
