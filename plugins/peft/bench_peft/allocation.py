"""When a tuner that takes rank away is to do so, in shares of the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import PeftModel
    from torch.optim import Optimizer

    from bench import Session

MOMENTS = 1000
"""PEFT's schedules count steps, a budget may count anything: PEFT's steps are thousandths of the
budget.
"""
FIRST, LAST = 50, 900
"""Moments at which the allocation begins and ends; the shares of AdaLoRA in PEFT's comparison on
MetaMathQA (200 and 4500 of 5000).
"""


class Allocation:
    """Calls a tuner's `update_and_allocate` after each step of an optimizer, while the gradients
    are still there.

    A tuner acts at multiples of `interval`. None is left out, however many moments one step takes,
    and none comes twice.
    """

    def __init__(
        self, session: Session, model: PeftModel, optimizer: Optimizer, interval: int
    ) -> None:
        self.session, self.tuner, self.interval = session, model.base_model, interval
        self.last = 0
        optimizer.register_step_post_hook(
            lambda *_: self._update(round(session.progress * MOMENTS))
        )

    def finish(self) -> None:
        """Make the last cut where the budget was over before it."""
        if 0 < self.last < LAST:
            self._update(LAST)

    def _update(self, moment: int) -> None:
        moment = LAST if self.last < LAST <= moment else moment
        due = moment // self.interval * self.interval
        if due <= self.last:
            due = moment if moment % self.interval else moment + 1
        self.last = max(self.last, due)
        self.tuner.update_and_allocate(due)  # pyright: ignore[reportCallIssue]
