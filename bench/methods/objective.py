"""What a method optimizes, before and after training: a method that ran may not have worked."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.models.start import folder_of_start
from bench.system.entry_points import PACKAGE
from bench.system.errors import UserError
from bench.system.files import write_atomically
from bench.system.fingerprints import of_package

if TYPE_CHECKING:
    from bench.methods.method import Method
    from bench.methods.session import Session, ValidationSession
    from bench.models.start import Start

SAMPLING_SEED = 0  # both looks draw the same random numbers
Look = dict[str, Any]
"""`values` by name, or the `reason` why there are none."""


def measured(method: Method, session: Session, start: Start, model: Any) -> tuple[Look, Look]:
    """The method's own objective of the model that it started from and of the model that it made.

    Both are measured after training, when whatever they need (a learned reward model) is there.
    """
    with session.unmetered():
        return _before(method, session, start), _look(method, session.validation(start), model)


def _before(method: Method, session: Session, start: Start) -> Look:
    """The objective of the start: what an earlier run of the same method found, or a look at it,
    which is kept unless training left something that the look may have used.
    """
    on = session.validation(start)
    file = None if start.trained or start.attached else _file(method, on)
    if file and file.is_file():
        on.close()
        return json.loads(file.read_text())
    look = _look(method, on, None)
    if file and "values" in look and not any(on.folder.iterdir()):
        write_atomically(file, json.dumps(look))
    return look


def _look(method: Method, on: ValidationSession, model: Any) -> Look:
    import torch
    from transformers import set_seed

    with torch.random.fork_rng(), torch.no_grad():
        set_seed(SAMPLING_SEED)
        try:
            return {"values": method.objective(on, (model or on.model()).eval())}
        except Exception as error:  # what was trained must not be lost to a look at it
            named = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            return {"reason": named + " ".join(str(error).split())}
        finally:
            on.close()


def _file(method: Method, on: ValidationSession) -> Path:
    """Where the objective of the start is kept, by all that decides it."""
    own = type(method).objective.__module__ != "bench.methods.method"
    spec = on.start.spec
    decides = {
        "method": _code(method) + [method.model_dump_json()] if own else method.formats[:1],
        # some are no identity before they are trained
        "adapter": method.model_dump(mode="json").get("adapter"),
        "bench": version(PACKAGE),
        "task": on.task.fingerprint,
        "old": [task.fingerprint for task in on.old],
        "chat": on.task.chat and on.task.chat.model_dump(),
        "template": spec.chat_template,
        "attention": spec.attention,
        "batch": [on.batch_size, on.max_length],
        "look": str(on.look),
    }
    digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]
    return folder_of_start(spec, on.dtype, on.device) / f"objective-{digest}.json"


def _code(method: Method) -> list[str]:
    """Name of the method's class, and a hash of the package that holds it."""
    kind = type(method)
    return [kind.__module__, kind.__qualname__, of_package(kind.__module__.partition(".")[0])]
