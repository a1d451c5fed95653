"""Start models: a hub id, a local folder, the embedded `tiny`, or an architecture with random weights."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .errors import Skipped

if TYPE_CHECKING:
    import torch
    from torch.nn import ModuleList
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TINY = Path(__file__).parent / "tiny" / "weights"
START = "start"
"""Folder inside an artifact with the weights that its adapter belongs to, where they are not the suite's model."""
SAMPLED = 1 << 20  # bytes from each end of a file that stand for it in a fingerprint


class CannotMerge(Exception):
    """An adapter that has to become part of its base cannot."""


class ModelSpec(BaseModel):
    """Which model every recipe starts from: `path` (hub id, folder or `tiny`), or `random` with an architecture's own fields."""

    model_config = ConfigDict(extra="allow", frozen=True)

    path: str | None = Field(default=None, description="a hub id, a local folder, or tiny")
    random: str | None = Field(default=None, description="a transformers model type, such as llama; further keys go to its configuration")
    revision: str | None = Field(default=None, description="branch, tag or commit on the hub")
    tokenizer: str | None = Field(default=None, description="where the tokenizer comes from, when not with the model")
    trust_remote_code: bool = Field(default=False, description="run code that came with the model")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_kind(self) -> ModelSpec:
        if (self.path is None) == (self.random is None):
            raise ValueError("give either path (hub id, folder, tiny) or random (an architecture)")
        if self.path is not None and self.model_extra:
            raise ValueError(f"{', '.join(self.model_extra)} goes only with random")
        return self

    @property
    def location(self) -> str:
        """What transformers loads from, for a model with weights."""
        assert self.path is not None
        return str(TINY) if self.path == "tiny" else self.path

    @property
    def tokenizer_location(self) -> str:
        name = self.tokenizer or self.path or "tiny"
        return str(TINY) if name == "tiny" else name

    def moved(self, folder: Path) -> ModelSpec:
        """The same tokenizer with weights from a local folder."""
        return ModelSpec(path=str(folder), tokenizer=self.tokenizer_location, trust_remote_code=self.trust_remote_code)


def load_model(spec: ModelSpec, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The start model with its weights in `dtype`; safetensors only, so no pickle is ever opened."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if spec.random is None:
        model = AutoModelForCausalLM.from_pretrained(
            spec.location, revision=spec.revision or "main", dtype=dtype, use_safetensors=True, trust_remote_code=spec.trust_remote_code
        )
        return model.to(device)  # pyright: ignore[reportArgumentType]
    config = AutoConfig.for_model(spec.random, **(spec.model_extra or {}))
    torch.manual_seed(0)
    with device:
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def load_scorer(spec: ModelSpec, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The start model with one new output per token in place of its head."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if spec.random is not None:
        config = AutoConfig.for_model(spec.random, **(spec.model_extra or {}), num_labels=1)
        torch.manual_seed(0)
        with device:
            return AutoModelForSequenceClassification.from_config(config, dtype=dtype)
    model = AutoModelForSequenceClassification.from_pretrained(
        spec.location,
        revision=spec.revision or "main",
        dtype=dtype,
        num_labels=1,
        use_safetensors=True,
        trust_remote_code=spec.trust_remote_code,
    )
    return model.to(device)  # pyright: ignore[reportArgumentType]


def save(model: Any, folder: Path, dtype: torch.dtype) -> None:
    """Safetensors only: an adapter as PEFT saves it, or all weights in the suite's precision."""
    from peft import PeftModel

    shutil.rmtree(folder, ignore_errors=True)
    if not isinstance(model, PeftModel):
        model = model.to(dtype)
    model.save_pretrained(str(folder))


def save_artifact(model: Any, folder: Path, dtype: torch.dtype, start: ModelSpec, known: ModelSpec) -> None:
    """A model as it will be evaluated; an adapter with the start it belongs to, unless that is the `known` one."""
    from peft import PeftModel

    save(model, folder, dtype)
    if isinstance(model, PeftModel) and start != known:
        shutil.copytree(start.location, folder / START)


def open_artifact(folder: Path, known: ModelSpec, dtype: torch.dtype, device: torch.device) -> Any:
    """What `save_artifact` saved, as a user would load it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if not (folder / "adapter_config.json").exists():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True).to(device)  # pyright: ignore[reportArgumentType]
    start = known.moved(folder / START) if (folder / START).is_dir() else known
    return PeftModel.from_pretrained(load_model(start, dtype, device), str(folder)).to(device)


def merged(model: Any) -> PreTrainedModel:
    """The model with its adapter made part of its weights; `CannotMerge` when that is impossible."""
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        return model
    kind = type(model.active_peft_config).__name__
    if not hasattr(model.base_model, "merge_and_unload"):
        raise CannotMerge(f"an adapter of {kind} cannot be merged into its base, so nothing can follow it")
    try:
        return model.merge_and_unload()
    except Exception as error:  # each of PEFT's tuners says in its own way that it cannot
        raise CannotMerge(f"an adapter of {kind} cannot be merged into its base, so nothing can follow it: {error}") from error


def decoder_layers(model: PreTrainedModel) -> ModuleList:
    """The list of the decoder's layers, as many as the configuration says; `Skipped` where there is none."""
    from torch.nn import ModuleList

    count = model.config.get_text_config().num_hidden_layers
    for child in model.get_decoder().children():
        if isinstance(child, ModuleList) and len(child) == count:
            return child
    raise Skipped(f"the decoder layers of {type(model).__name__} cannot be found")


def load_tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a padding token: its own, or else its end of sequence."""
    from transformers import AutoTokenizer

    revision = spec.revision if spec.tokenizer is None else None
    tokenizer = AutoTokenizer.from_pretrained(
        spec.tokenizer_location, revision=revision or "main", trust_remote_code=spec.trust_remote_code
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def fingerprint(spec: ModelSpec) -> str:
    """Changes when the start model changes. Of local files the sizes and both ends count, of a hub id its name and revision."""
    digest = hashlib.sha256(spec.model_dump_json(exclude={"path", "tokenizer"}).encode())
    for name in filter(None, (spec.path and spec.location, spec.tokenizer_location)):
        folder = Path(name)
        digest.update(b"local" if folder.is_dir() else name.encode())
        for file in sorted(folder.glob("*")) if folder.is_dir() else []:
            if file.suffix in {".json", ".safetensors", ".model", ".jinja"}:
                digest.update(f"{file.name} {file.stat().st_size}".encode())
                digest.update(_ends(file))
    return digest.hexdigest()[:16]


def _ends(file: Path) -> bytes:
    with file.open("rb") as stream:
        head = stream.read(SAMPLED)
        stream.seek(max(SAMPLED, file.stat().st_size - SAMPLED))
        return head + stream.read()
