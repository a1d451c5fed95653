"""What a method carries from one target of a sequence to the next."""

from __future__ import annotations

from collections.abc import Sequence

from safetensors.torch import load_file, save_file
from torch import Tensor

from bench import Session


def remember(session: Session, name: str, tensors: Sequence[Tensor]) -> None:
    """Carry tensors to the next target, in their order."""
    session.memory.mkdir(parents=True, exist_ok=True)
    numbered = {str(i): tensor.contiguous() for i, tensor in enumerate(tensors)}
    save_file(numbered, session.memory / f"{name}.safetensors")


def recall(session: Session, name: str) -> list[Tensor]:
    """What `remember` carried here; empty at the first target."""
    file = session.memory / f"{name}.safetensors"
    if not file.is_file():
        return []
    numbered = load_file(file, device=str(session.device))
    return [numbered[str(i)] for i in range(len(numbered))]
