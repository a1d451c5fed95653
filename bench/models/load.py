"""Loading models and tokenizers; safetensors only, so no pickle is ever opened."""

from __future__ import annotations

import json
from pathlib import Path
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
    from transformers import AutoModelForCausalLM

    return _loaded(AutoModelForCausalLM, spec, dtype, device)


def load_scorer(spec: ModelSpec, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The start model with one new output per token in place of its head."""
    from transformers import AutoModelForSequenceClassification

    return _loaded(AutoModelForSequenceClassification, spec, dtype, device, num_labels=1)


def _loaded(
    auto: Any, spec: ModelSpec, dtype: torch.dtype, device: torch.device, **head: int
) -> PreTrainedModel:
    """A model with the head that `auto` puts on it."""
    if spec.random is not None:
        return _made(auto, spec, dtype, device, **head)
    model = auto.from_pretrained(
        spec.location,
        revision=spec.revision or "main",
        code_revision=code_revision(spec.location),
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=spec.trust_remote_code,
        attn_implementation=spec.attention,
        quantization_config=quantized.configuration(spec.quantize, dtype),
        # straight to a GPU, not by way of the CPU's memory; what is quantized, to where it computes
        device_map={"": device} if device.type == "cuda" or spec.quantize else None,
        **head,
    )
    return quantized.with_one_arithmetic(model.to(device))


def _made(
    auto: Any, spec: ModelSpec, dtype: torch.dtype, device: torch.device, **head: int
) -> PreTrainedModel:
    """A model of random weights; in four bits it has a shape alone."""
    import torch
    from transformers import AutoConfig

    config = AutoConfig.for_model(str(spec.random), **(spec.model_extra or {}), **head)

    def make() -> PreTrainedModel:
        return auto.from_config(config, dtype=dtype, attn_implementation=spec.attention)

    if spec.quantize:
        return quantized.in_four_bits(make, dtype, device)
    with torch.random.fork_rng(), device:  # a seed goes on as if the weights had been read
        torch.manual_seed(0)
        return make()


def code_revision(location: str | Path) -> str | None:
    """The revision of its code that a saved model was trained with, as `save_weights` wrote it."""
    config = Path(location, "config.json")
    return json.loads(config.read_text()).get("code_revision") if config.is_file() else None


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
