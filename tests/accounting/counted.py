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


def cpu_attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


def cpu_attention_backward(grad: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, q, k, v)


def of_experts(tokens: Any, weights: Any, *_: Any, **__: Any) -> int:
    """Each token meets the weights of one expert; so it does where weights get their gradient."""
    return 2 * tokens[0] * tokens[1] * weights[-1]


# torch has no formula for attention on CPU; its own ones for the other kernels fit. It has none for
# experts at all.
CPU_ATTENTION = {
    aten._grouped_mm: of_experts,
    aten._scaled_dot_product_flash_attention_for_cpu: cpu_attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: cpu_attention_backward,
}


def metered(model: PreTrainedModel) -> Ledger:
    ledger = Ledger()
    Meter(model, Account(Budget("tokens", 1e12), ledger), "train")
    return ledger
