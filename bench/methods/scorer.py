"""A reward model that a method trained and kept, opened to look at what was learned from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.methods.session import Session


def load_scorer(session: Session, folder: Path) -> Any:
    """The scorer that `save_pretrained` wrote to a folder, in evaluation mode: whole, or an adapter
    on the session's start. Nobody is charged for its passes.
    """
    from bench.models import codecs, start  # plugins import this when listed

    if (folder / "adapter_config.json").is_file():
        base = start.load_scorer(session.start, session.dtype, session.device)
        return codecs.load_adapter(base, folder).to(session.device).eval()
    whole = session.start.moved(folder)
    return start.load_scorer(whole, session.dtype, session.device).eval()
