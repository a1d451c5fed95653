"""Loading models and tokenizers; safetensors only, so no pickle is ever opened."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from bench.system.errors import Skipped

if TYPE_CHECKING:
    import torch
    from torch.nn import ModuleList
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
from bench.models import quantized
from bench.models.spec import TINY, ModelSpec


def load_model(spec: ModelSpec, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The start model with its weights in `dtype`, from safetensors only: no pickle is opened."""
    from transformers import AutoConfig, AutoModelForCausalLM

    if spec.random is None:
        model = AutoModelForCausalLM.from_pretrained(spec.location, **_given(spec, dtype, device))
        return _placed(model, device)
    config = AutoConfig.for_model(spec.random, **(spec.model_extra or {}))
    return _made(AutoModelForCausalLM, config, spec, dtype, device)


def load_scorer(spec: ModelSpec, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The start model with one new output per token in place of its head."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if spec.random is not None:
        config = AutoConfig.for_model(spec.random, **(spec.model_extra or {}), num_labels=1)
        return _made(AutoModelForSequenceClassification, config, spec, dtype, device)
    model = AutoModelForSequenceClassification.from_pretrained(
        spec.location, num_labels=1, **_given(spec, dtype, device)
    )
    return _placed(model, device)


def _made(
    auto: Any, config: Any, spec: ModelSpec, dtype: torch.dtype, device: torch.device
) -> PreTrainedModel:
    """A model of random weights; in four bits it has a shape alone."""
    import torch

    make = partial(auto.from_config, config, dtype=dtype, attn_implementation=spec.attention)
    if spec.quantize:
        return quantized.in_four_bits(make, dtype, device)
    with torch.random.fork_rng(), device:  # a seed goes on as if the weights had been read
        torch.manual_seed(0)
        return make()


def _given(spec: ModelSpec, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """How weights are read, whatever head is put on them."""
    return {
        "revision": spec.revision or "main",
        "dtype": dtype,
        "use_safetensors": True,
        "trust_remote_code": spec.trust_remote_code,
        "attn_implementation": spec.attention,
        "quantization_config": quantized.configuration(spec.quantize, dtype),
        "device_map": _directly(spec, device),
    }


def _placed(model: Any, device: torch.device) -> Any:
    """The same model there, computing as it does anywhere."""
    return quantized.with_one_arithmetic(model.to(device))


def _directly(spec: ModelSpec, device: torch.device) -> dict[str, torch.device] | None:
    """What makes transformers read weights straight to a GPU, not by way of the CPU's memory, and
    quantized ones to where they are asked for.
    """
    return {"": device} if device.type == "cuda" or spec.quantize else None


def attention_obstacle(name: str | None) -> str | None:
    """Why this implementation of attention cannot run here; None where it can."""
    if name != "flash_attention_2":
        return None
    from transformers.utils.import_utils import is_flash_attn_2_available

    if is_flash_attn_2_available():
        return None
    return (
        "flash_attention_2 needs a GPU and the package flash-attn (pip install flash-attn"
        " --no-build-isolation); write sdpa, which comes with torch"
    )


def decoder_layers(model: PreTrainedModel) -> ModuleList:
    """The list of the decoder's layers, as many as the configuration says; `Skipped` where there is
    none.
    """
    from torch.nn import ModuleList

    count = model.config.get_text_config().num_hidden_layers
    for child in model.get_decoder().children():
        if isinstance(child, ModuleList) and len(child) == count:
            return child
    raise Skipped(f"the decoder layers of {type(model).__name__} cannot be found")


def load_tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a padding token: its own, or else its end of sequence."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    revision = spec.revision if spec.tokenizer is None else None
    # of tiny the class is known: AutoTokenizer would import all that a model needs
    kind = PreTrainedTokenizerFast if spec.tokenizer_location == str(TINY) else AutoTokenizer
    tokenizer = kind.from_pretrained(
        spec.tokenizer_location,
        revision=revision or "main",
        trust_remote_code=spec.trust_remote_code,
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if spec.chat_template is not None:
        tokenizer.chat_template = spec.chat_template
    return tokenizer
