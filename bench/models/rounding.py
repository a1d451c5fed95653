"""How far two ways of computing the same may differ."""

from __future__ import annotations

import torch

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Largest difference as a share of the largest entry: a hundred roundings, or ten of bfloat16."""
