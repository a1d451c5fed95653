"""Sides that take turns: every side trains a few steps while all others wait, then the next one."""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from setting import WARM_UP, Setting
from torch.optim.optimizer import register_optimizer_step_post_hook


class Clock:
    """Holds this process back after every turn, and tells what was done in it."""

    def __init__(self, channel: Connection, setting: Setting) -> None:
        self._channel, self._turn = channel, setting.turn
        self._read: Callable[[], float] = lambda: 0.0
        self._steps, self._tokens, self._began = 0, 0.0, 0.0
        register_optimizer_step_post_hook(self._stepped)

    def reads(self, tokens: Callable[[], float]) -> None:
        """What tells how many tokens were trained on so far."""
        self._read = tokens

    def _stepped(self, *_: Any) -> None:
        ended = time.perf_counter()
        self._steps += 1
        timed = self._steps - WARM_UP
        if timed < 0 or timed % self._turn:
            return
        tokens = self._read()
        self._channel.send((tokens - self._tokens, ended - self._began))
        self._channel.recv()  # all others have had their turn
        self._tokens, self._began = tokens, time.perf_counter()
