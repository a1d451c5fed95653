"""Models whose linear layers are held in four or eight bits, as bitsandbytes does. What is held so
cannot be trained: a method adds weights of its own.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig, PreTrainedModel

Bits = Literal["nf4", "int8"]

# on import it says that a kernel could be fetched from the Hub, which would compute in bfloat16
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def configuration(bits: Bits | None, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """How transformers is to load a model. `nf4` is 4-bit NormalFloat with double quantization
    (Dettmers et al. 2023, 2305.14314, §3), `int8` is LLM.int8() (Dettmers et al. 2022, 2208.07339).
    """
    if bits is None:
        return None
    from transformers import BitsAndBytesConfig

    if bits == "int8":
        # it says for every layer of every pass that inputs become float16, which int8 is made for
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def with_one_arithmetic(model: PreTrainedModel) -> PreTrainedModel:
    """A model that computes alike on all CPUs, and alike with gradients and without. Where a CPU
    multiplies in bfloat16, bitsandbytes else packs weights anew in the first pass without gradients
    and rounds all that goes through them.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # pyright: ignore[reportArgumentType]
    return model


def missing(what: str) -> str | None:
    """What must be installed for that; None where nothing is missing."""
    if find_spec("bitsandbytes"):
        return None
    return f"{what} needs the package bitsandbytes: pip install 'finetuning-bench[quantize]'"
