"""What every recipe may spend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Currency = Literal["tokens", "flops", "seconds", "samples", "steps"]
CURRENCIES: tuple[Currency, ...] = get_args(Currency)


@dataclass(frozen=True)
class Budget:
    """An amount in one currency."""

    currency: Currency
    amount: float

    def part(self, start: float, end: float) -> Budget:
        """What lies between two shares of it; nothing where the first has passed the second."""
        return Budget(self.currency, self.amount * max(0.0, end - start))
