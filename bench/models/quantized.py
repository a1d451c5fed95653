"""Models whose linear layers are held in four or eight bits, as bitsandbytes does. What is held so
cannot be trained: a method adds weights of its own.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

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


def in_four_bits(
    make: Callable[[], PreTrainedModel], dtype: torch.dtype, device: torch.device
) -> PreTrainedModel:
    """A model as it is when it was loaded with `nf4`, without values in its weights: for shapes. It
    is never there in full, as it is not when a file is read.
    """
    import torch
    from bitsandbytes.nn.modules import Linear4bit
    from torch._subclasses.fake_tensor import unset_fake_temporarily
    from transformers.quantizers.auto import AutoHfQuantizer

    with torch.device("meta"):
        model = make()
    config: Any = configuration("nf4", dtype)
    quantizer = AutoHfQuantizer.from_config(config)
    with unset_fake_temporarily():  # a class of tensors of its own can stand for no other
        quantizer.preprocess_model(model, device_map=None)
    for module in model.modules():
        packed = isinstance(module, Linear4bit)
        for name, weight in module.named_parameters(recurse=False):
            empty = torch.empty(weight.shape, dtype=dtype, device=device)
            whole = not (packed and name == "weight")
            setattr(module, name, torch.nn.Parameter(empty) if whole else _packed(empty))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty_like(buffer, device=device))
    model.tie_weights()
    quantizer.postprocess_model(model)
    vars(model)["hf_quantizer"] = quantizer  # trainers ask it whether this can be trained on
    return with_one_arithmetic(model)


def _packed(weight: Any) -> Any:
    """What bitsandbytes holds in place of a weight, without a class of its own."""
    from unittest.mock import patch

    from bitsandbytes.functional import name2qmap, quantize_4bit
    from torch.nn import Parameter

    with patch.dict(name2qmap):  # what it keeps for the whole process would have no values
        values, state = quantize_4bit(weight, compress_statistics=True, quant_type="nf4")
    packed: Any = Parameter(values, requires_grad=False)
    packed.quant_state, packed.bnb_quantized = state, True
    packed.compress_statistics, packed.quant_type = True, "nf4"
    return packed


def missing(what: str) -> str | None:
    """What must be installed for that; None where nothing is missing."""
    if find_spec("bitsandbytes"):
        return None
    return f"{what} needs the package bitsandbytes: pip install 'finetuning-bench[quantize]'"
