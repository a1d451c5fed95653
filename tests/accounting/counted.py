"""Torch's own counter of operations, and a model whose passes are charged."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count
from transformers import (
    PreTrainedModel,
)

from bench.accounting.budget import Budget
from bench.accounting.ledger import Account, Ledger
from bench.accounting.metering import Meter

aten = torch.ops.aten

aten = torch.ops.aten


def cpu_attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


def cpu_attention_backward(grad: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, q, k, v)


# torch has no formula for attention on CPU; its own ones for the other kernels fit.
CPU_ATTENTION = {
    aten._scaled_dot_product_flash_attention_for_cpu: cpu_attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: cpu_attention_backward,
}


def metered(model: PreTrainedModel) -> Ledger:
    ledger = Ledger()
    Meter(model, Account(Budget("tokens", 1e12), ledger), "train")
    return ledger
