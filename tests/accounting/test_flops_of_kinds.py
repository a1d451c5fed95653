"""The FLOPs of a step of many architectures, beside torch's counter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
)

from .counted import CPU_ATTENTION, metered

SIZES = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
KINDS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 128, "n_layer": 4, "n_head": 4},  # its layers are no linear layers
    "opt": {  # its head calls the decoder within the backbone
        "hidden_size": 128,
        "ffn_dim": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "word_embed_proj_dim": 128,
    },
    "gpt_neox": SIZES,
    "qwen3": GROUPED | {"head_dim": 48},
    "gemma3_text": GROUPED | {"head_dim": 48},
    "phi3": GROUPED | {"pad_token_id": 0},
    "mistral": GROUPED,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_flops_of_a_step_of_any_model_are_those_that_torch_counts(kind: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, vocab_size=320, **KINDS[kind])
    )
    ledger = metered(model)
    ids = torch.randint(3, 320, (4, 64))
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
    assert ledger.spent("flops") == pytest.approx(counter.get_total_flops(), rel=0.05)
