"""The forms of artifacts that ship, each loaded strictly: no key too many, none missing, and every
tensor of the shape and type that the model has.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.models.load import code_revision
from bench.system.errors import BrokenArtifact

if TYPE_CHECKING:
    import torch

    from bench.models.spec import ModelSpec

SHOWN = 3  # names in one message


def load_adapter(base: Any, folder: Path) -> Any:
    """A PEFT adapter on a fresh base."""
    from peft import PeftModel, get_peft_model_state_dict

    saved = read_tensors(folder)
    try:
        model = PeftModel.from_pretrained(base, str(folder), torch_device="cpu")
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise BrokenArtifact(f"PEFT cannot load the adapter: {error}") from error
    demand_equal(saved, get_peft_model_state_dict(model))
    return model


def load_weights(folder: Path, dtype: torch.dtype, known: ModelSpec) -> Any:
    """A whole model, built from the configuration beside its weights, that computes as the suite's
    model does.
    """
    from transformers import AutoModelForCausalLM

    saved = read_tensors(folder)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=known.trust_remote_code,
            code_revision=code_revision(folder),
            attn_implementation=known.attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they can be named
        )
        model, loading = loaded
    except (RuntimeError, ValueError, OSError) as error:
        raise BrokenArtifact(f"transformers cannot load the weights: {error}") from error
    _refuse("missing", loading["missing_keys"])
    _refuse("unexpected", loading["unexpected_keys"])
    _refuse("of the wrong shape", [key[0] for key in loading["mismatched_keys"]])
    _demand_types(saved, model.state_dict())
    return model


def save_weights(model: Any, folder: Path, start: ModelSpec) -> None:
    """What `load_weights` loads. Code that came with the start stays where it is: an artifact holds
    none, and says where it lies and in which revision.
    """
    for kind in (type(model), type(model.config)):
        kind._auto_class = None  # else transformers copies the code
    if found := getattr(model.config, "auto_map", None):
        here = f"{start.location}--"
        names = {kind: name if "--" in name else here + name for kind, name in found.items()}
        model.config.auto_map = names
        if start.revision and any(name.startswith(here) for name in names.values()):
            model.config.code_revision = start.revision
    model.save_pretrained(str(folder))


def load_weights_on_start(base: Any, folder: Path) -> Any:
    """All weights of a model that is more than its configuration says, onto a start of its kind."""
    saved = read_tensors(folder)
    own = base.state_dict()
    tied = set(getattr(base, "all_tied_weights_keys", None) or ())
    demand_equal(saved, {name: tensor for name, tensor in own.items() if name not in tied})
    base.load_state_dict(saved, strict=False)
    return base


def save_weights_on_start(model: Any, folder: Path) -> None:
    """What `load_weights_on_start` loads: every tensor of the model that is not tied to another."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    tensors = {
        name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor in the safetensors files of a folder."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BrokenArtifact("there is no safetensors file in it")
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise BrokenArtifact(f"{file.name} cannot be read: {error}") from error
    return tensors


def demand_equal(saved: Mapping[str, torch.Tensor], made: Mapping[str, torch.Tensor]) -> None:
    """Raise `BrokenArtifact`, naming keys, where names, shapes or types of tensors differ."""
    _refuse("missing", made.keys() - saved.keys())
    _refuse("unexpected", saved.keys() - made.keys())
    wrong = [
        f"{name} is {tuple(tensor.shape)}, not {tuple(made[name].shape)}"
        for name, tensor in saved.items()
        if tensor.shape != made[name].shape
    ]
    _refuse("of the wrong shape", wrong)
    _demand_types(saved, made)


def _demand_types(saved: Mapping[str, torch.Tensor], made: Mapping[str, torch.Tensor]) -> None:
    """Saved weights are of the model's type, or in float32, in which everything trains."""
    import torch

    wrong = [
        f"{name} is {tensor.dtype}"
        for name, tensor in saved.items()
        if name in made and tensor.dtype not in (made[name].dtype, torch.float32)
    ]
    _refuse("of the wrong type", wrong)


def _refuse(what: str, names: Any) -> None:
    found = sorted(names)
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise BrokenArtifact(f"{', '.join(found[:SHOWN])}{more}: {what} in the artifact")
