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

from bench.accounting.ledger import Ledger

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
    "gemma3": {  # it sees, too
        "text_config": GROUPED | {"head_dim": 48, "vocab_size": 512},
        "vision_config": SIZES | {"hidden_size": 64, "image_size": 28, "patch_size": 14},
        "mm_tokens_per_image": 4,
    },
    "gemma4_text": GROUPED  # its last layer has wider heads
    | {"head_dim": 48, "global_head_dim": 64, "hidden_size_per_layer_input": 16}
    | {"layer_types": [*3 * ["sliding_attention"], "full_attention"]}
    | {"vocab_size_per_layer_input": 512},
    "phi3": GROUPED | {"pad_token_id": 0},
    "mistral": GROUPED,
    "mixtral": GROUPED | {"num_local_experts": 4},
    "qwen3_moe": GROUPED
    | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 96, "head_dim": 48},
}


def _demand_equal(model: Any, ledger: Ledger, rows: int) -> None:
    ids, before = torch.randint(3, 320, (rows, 64)), ledger.spent("flops")
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
    assert ledger.spent("flops") - before == pytest.approx(counter.get_total_flops(), rel=0.05)


@pytest.mark.parametrize(
    ("kind", "experts"),
    [(kind, None) for kind in KINDS]
    + [("mixtral", "eager"), ("mixtral", "batched_mm"), ("qwen3_moe", "eager")],
)
def test_the_flops_of_a_step_of_any_model_are_those_that_torch_counts(
    kind: str, experts: str | None
) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=320, **KINDS[kind])
    model = AutoModelForCausalLM.from_config(config, experts_implementation=experts)
    ledger = metered(model)
    for rows in (4, 1):  # the first pass probes the model, the second uses what was found
        _demand_equal(model, ledger, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_no_token_of_any_model(kind: str) -> None:
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, vocab_size=320, **KINDS[kind])
    )
    ledger = metered(model)
    mask = torch.tensor([[1] * 12, [1] * 5 + [0] * 7])
    with torch.no_grad():
        model(input_ids=7 * mask, attention_mask=mask)
    assert ledger.spent("tokens") == 17


def test_experts_without_a_kernel_are_charged_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    config = AutoConfig.for_model("mixtral", vocab_size=320, **KINDS["mixtral"])
    ids = torch.randint(3, 320, (4, 64))

    def charged() -> float:
        ledger = metered(model := AutoModelForCausalLM.from_config(config))
        model(input_ids=ids)
        return ledger.spent("flops")

    with_kernel = charged()
    monkeypatch.setattr("transformers.integrations.moe._can_use_grouped_mm", lambda *_: False)
    assert charged() == with_kernel
