"""The random numbers that come next, of every generator that training draws from."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class RandomState:
    """Where the generators of Python, numpy and torch stand, to go back to."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._device = device
        self._drawn = random.getstate(), np.random.get_state(), torch.get_rng_state()
        on_gpu = device.type == "cuda"
        self._drawn_there = torch.cuda.get_rng_state(device) if on_gpu else None

    def restore(self) -> None:
        import torch

        python, numpy, pytorch = self._drawn
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(pytorch)
        if self._drawn_there is not None:
            torch.cuda.set_rng_state(self._drawn_there, self._device)
