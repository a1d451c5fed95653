"""A teacher: another model that a method learns from, and what keeps a model from being one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec
from bench.system.errors import Skipped, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench.methods.session import Session


def load_teacher(session: Session, name: str) -> PreTrainedModel:
    """Another model than the start, frozen and in evaluation mode; its passes are charged as
    teacher, loading it is not.

    `name` is a hub id, the whole path of a local folder or GGUF file, or an embedded model. Raises
    `Skipped` where it cannot teach.
    """
    from bench.methods.hand_out import hand_out  # plugins import this when listed

    if reason := teacher_obstacle(session, name):
        raise Skipped(reason)
    spec = ModelSpec(path=name)
    model = hand_out(session, lambda _, *where: load_model(spec, *where), "teacher")
    return model.requires_grad_(False).eval()


def teacher_obstacle(session: Session, name: str) -> str | None:
    """Why a model cannot teach the start, as far as that is known without its weights, or None: it
    must be there, and have the same tokens.
    """
    if name.startswith("/") and not Path(name).exists():
        return f"teacher {name}: there is no such folder or file"
    try:
        tokens = load_tokenizer(ModelSpec(path=name)).get_vocab()
    except (OSError, ValueError, UserError) as error:
        return f"teacher {name} cannot be read: {str(error).strip().splitlines()[0]}"
    if tokens != session.tokenizer.get_vocab():
        return (
            f"teacher {name} has other tokens than the start model, so their predictions cannot be"
            " compared; take a model of the same family"
        )
    return None
