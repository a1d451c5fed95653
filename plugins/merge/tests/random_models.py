"""Small models of several architectures with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 4},
    "qwen2": {"tie_word_embeddings": True},
    "gemma3_text": {
        "sliding_window": 4,
        "layer_types": [
            "sliding_attention",
            "full_attention",
            "sliding_attention",
            "sliding_attention",
        ],
        "tie_word_embeddings": True,
    },
    "gpt2": {"n_embd": 32, "n_head": 4},
}


def random_model(kind: str, layers: int = 4) -> PreTrainedModel:
    torch.manual_seed(0)
    own = {name: value for name, value in SIZES.items() if kind != "gpt2" or name == "vocab_size"}
    config = AutoConfig.for_model(
        kind, **{**own, "num_hidden_layers": layers, "pad_token_id": 0, **ARCHITECTURES[kind]}
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def logits(model: PreTrainedModel, **settings: Any) -> Tensor:
    ids = torch.arange(24).reshape(2, 12) + 1
    with torch.no_grad():
        return model(input_ids=ids, **settings).logits


def reopened(folder: Path) -> Any:
    """The model in a folder, and what transformers tells of missing and left over weights."""
    return AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)


def tied(model: Any) -> bool:
    return model.get_input_embeddings().weight is model.get_output_embeddings().weight
