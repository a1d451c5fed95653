"""What is written down while a run trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.accounting.resources import Memory


@dataclass
class RunLog:
    """What is written down while a run trains, over all its stages."""

    losses: list[float] = field(default_factory=list)
    objectives: list[dict[str, Any]] = field(default_factory=list)
    """Of each stage that has one: what its method optimizes, before and after."""
    pending: list[Callable[[], None]] = field(default_factory=list)
    """Objectives still to be measured: what was trained is saved first."""
    speeds: list[tuple[float, float]] = field(default_factory=list)
    """Of each stage: tokens and seconds after its warm-up steps."""
    load_seconds: float = 0.0
    aside_seconds: float = 0.0
    memory: Memory = field(default_factory=Memory)
    trainable: int = 0
    """Most parameters that any stage trained."""

    def settle(self) -> None:
        """Measure the objectives that are still pending."""
        while self.pending:
            self.pending.pop(0)()
