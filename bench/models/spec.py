"""Which model every recipe starts from: a hub id, a local folder, the embedded `tiny`, or an
architecture with random weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.fingerprints import of_model_folder

TINY = Path(__file__).parent.parent / "tiny" / "weights"


class ModelSpec(BaseModel):
    """Which model every recipe starts from: `path` (hub id, folder or `tiny`), or `random` with an
    architecture's own fields.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    path: str | None = Field(default=None, description="a hub id, a local folder, or tiny")
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
        return ModelSpec(
            path=str(folder),
            tokenizer=self.tokenizer_location,
            trust_remote_code=self.trust_remote_code,
        )


def fingerprint(spec: ModelSpec) -> str:
    """Changes when the start model changes. Of local files the sizes and both ends count, of a hub
    id its name and revision.
    """
    digest = hashlib.sha256(spec.model_dump_json(exclude={"path", "tokenizer"}).encode())
    for name in filter(None, (spec.path and spec.location, spec.tokenizer_location)):
        folder = Path(name)
        digest.update(b"local" if folder.is_dir() else name.encode())
        for content in of_model_folder(folder) if folder.is_dir() else ():
            digest.update(content)
    return digest.hexdigest()[:16]
