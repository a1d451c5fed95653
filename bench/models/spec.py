"""Which model every recipe starts from: a hub id, a local folder, a GGUF file, the embedded `tiny`,
`smollm2`, or an architecture with random weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from bench.models import gguf
from bench.models.quantized import Bits
from bench.system import smollm2
from bench.system.fingerprints import of_model_folder

TINY = Path(__file__).parent.parent / "tiny" / "weights"
EMBEDDED = ("tiny", smollm2.NAME)
"""Names of models that need neither a hub nor a path."""


class ModelSpec(BaseModel):
    """Which model every recipe starts from: `path` (hub id, folder, GGUF file, `tiny`, `smollm2`),
    or `random` with an architecture's own fields.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    path: str | None = Field(
        default=None, description="a hub id, a local folder, a GGUF file, tiny, or smollm2"
    )
    random: str | None = Field(
        default=None,
        description=(
            "a transformers model type, such as llama; further keys go to its configuration"
        ),
    )
    revision: str | None = Field(default=None, description="branch, tag or commit on the hub")
    tokenizer: str | None = Field(
        default=None, description="where the tokenizer comes from, when not with the model"
    )
    trust_remote_code: bool = Field(default=False, description="run code that came with the model")
    quantize: Bits | None = Field(
        default=None,
        exclude_if=lambda bits: bits is None,
        description="hold the linear layers in 4 or 8 bits: nf4 or int8; adapters train on top",
    )

    _chat_template: str | None = PrivateAttr(default=None)
    _attention: str | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_kind(self) -> ModelSpec:
        if (self.path is None) == (self.random is None):
            raise ValueError(
                "give either path (hub id, folder, GGUF file, tiny or smollm2) or random (an"
                " architecture)"
            )
        if self.path is not None and self.model_extra:
            raise ValueError(f"{', '.join(self.model_extra)} goes only with random")
        if self.random is not None and self.quantize:
            raise ValueError("quantize goes only with path: random weights are made in full")
        return self

    @property
    def location(self) -> str:
        """What transformers loads from, for a model with weights. The first use of a GGUF file
        unpacks it, which takes seconds.
        """
        assert self.path is not None
        return _location(self.path)

    @property
    def tokenizer_location(self) -> str:
        return _location(self.tokenizer or self.path or "tiny")

    @property
    def gguf_names(self) -> list[str]:
        """Which of its names stand for GGUF files."""
        return list(dict.fromkeys(filter(gguf.is_gguf, (self.path or "", self.tokenizer or ""))))

    def prepare(self) -> None:
        """Unpack GGUF files now, so that no run spends time and memory on it."""
        for name in self.gguf_names:
            gguf.unpacked(gguf.find(name))

    def moved(self, folder: Path) -> ModelSpec:
        """The same tokenizer with weights from a local folder."""
        moved = ModelSpec(
            path=str(folder),
            tokenizer=self.tokenizer_location,
            trust_remote_code=self.trust_remote_code,
        )
        return moved.in_suite(self.chat_template, self.attention)

    @property
    def chat_template(self) -> str | None:
        """The suite's own chat template, or None where the tokenizer's counts."""
        return self._chat_template

    @property
    def attention(self) -> str | None:
        """The suite's own implementation of attention, or None where transformers chooses."""
        return self._attention

    def in_suite(self, chat_template: str | None = None, attention: str | None = None) -> ModelSpec:
        """The same model with what a suite says of its chat template and of its attention."""
        copy = self.model_copy()
        copy._chat_template, copy._attention = chat_template, attention
        return copy


def _location(name: str) -> str:
    if gguf.is_gguf(name):
        return str(gguf.unpacked(gguf.find(name)))
    return str(TINY) if name == "tiny" else name


def fingerprint(spec: ModelSpec) -> str:
    """Changes when the start model changes. Of local files the sizes and both ends count, of a GGUF
    file all of it, of a hub id its name and revision.
    """
    digest = hashlib.sha256(spec.model_dump_json(exclude={"path", "tokenizer"}).encode())
    for name in filter(None, (spec.path, spec.tokenizer or spec.path or "tiny")):
        if gguf.is_gguf(name):
            digest.update(f"gguf {gguf.key(gguf.find(name))}".encode())
            continue
        folder = Path(name := _location(name))
        digest.update(b"local" if folder.is_dir() else name.encode())
        for content in of_model_folder(folder) if folder.is_dir() else ():
            digest.update(content)
    return digest.hexdigest()[:16]
