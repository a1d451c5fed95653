"""Tokens per second of the steps after a warm-up."""

from __future__ import annotations

import time

from setting import WARM_UP


class Clock:
    """Hears of every step."""

    def __init__(self) -> None:
        self._steps, self._tokens = 0, 0
        self._begun = self._ended = 0.0

    def step(self, tokens: int) -> None:
        """A step is done that read so many tokens with gradients on."""
        self._steps += 1
        if self._steps == WARM_UP:
            self._begun = time.perf_counter()
        elif self._steps > WARM_UP:
            self._tokens += tokens
            self._ended = time.perf_counter()

    @property
    def tokens_per_second(self) -> float:
        return self._tokens / (self._ended - self._begun)
