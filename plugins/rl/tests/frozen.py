"""What PPO of TRL 1.12 computed on one batch, to be compared with."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

FROZEN = json.loads((Path(__file__).parent / "fixtures" / "ppo_trl_1_12.json").read_text())


def frozen(name: str) -> Tensor:
    return torch.tensor(FROZEN[name])
