"""Rows that will be skipped, as far as this can be known before anything is trained."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bench.methods.artifact import OwnForm
from bench.methods.entry import Resolved
from bench.methods.recipe import leaves, obstacle
from bench.models.spec import ModelSpec
from bench.suite.schema import TRANSFORMERS, Suite
from bench.system.errors import Skipped

if TYPE_CHECKING:
    from bench.methods.session import Session


def obstacles(suite: Suite) -> dict[str, str]:
    """Why rows will be skipped, by label: a plugin that cannot be used, a package or data that is
    missing, a model that does not fit the method, an engine that cannot load what it makes.
    """
    with TemporaryDirectory() as folder:
        targets = range(len(suite.target))
        sessions = [session_of_shape(suite, number, Path(folder)) for number in targets]
        found = {
            m.label: _first(m.recipe, sessions) or not_served(suite, m.recipe)
            for m in suite.methods
        }
        for session in sessions:
            session.close()
    return {label: reason for label, reason in found.items() if reason}


def _first(recipe: Resolved, sessions: list[Session]) -> str | None:
    try:
        reasons = (obstacle(recipe.method, session) for session in sessions)
        return next(filter(None, reasons), None)
    except Skipped as reason:
        return str(reason)
    except Exception:  # the method could not be asked without weights; its run will show
        return None


def not_served(suite: Suite, recipe: Resolved) -> str | None:
    """Why another engine than transformers, where the suite asks one, cannot load what a recipe
    makes; or None.
    """
    if suite.engine != TRANSFORMERS and any(isinstance(m.usable, OwnForm) for m in leaves(recipe)):
        return f"{suite.engine} takes weights alone, and this method adds modules of its own"
    return None


def session_of_shape(suite: Suite, number: int, folder: Path, **changes: Any) -> Session:
    """A session for the target of that number as the run will have it, on a model that has a shape
    but no weights; `changes` replace its fields.
    """
    import torch

    from bench.accounting.ledger import Ledger
    from bench.methods.session import Session
    from bench.models.load import load_tokenizer
    from bench.models.start import Start

    start = shape(suite.start())
    earlier = (suite.task(name) for name in (*suite.retain, *suite.target[:number]))
    given: dict[str, Any] = {
        "task": suite.task(suite.target[number]),
        "tokenizer": load_tokenizer(start),
        "budget": suite.budget.budget(),
        "seed": 0,
        "device": torch.device("meta"),
        "dtype": torch.float32,
        "folder": folder,
        "memory": folder / "memory",
        "batch_size": suite.batch.size,
        "max_length": suite.batch.max_length,
        "ledger": Ledger(),
        "start": Start(start),
        "gpus": suite.gpus,
        "padding_free": suite.batch.padding_free,
        "merges": suite.merges(number),
        "old": tuple(task for task in earlier if task.formats),
    }
    return Session(**given | changes)


def shape(spec: ModelSpec) -> ModelSpec:
    """The same architecture and tokenizer with random weights, which cost nothing on `meta`."""
    if spec.random is not None:
        return spec
    from transformers import PretrainedConfig

    config, _ = PretrainedConfig.get_config_dict(spec.location, revision=spec.revision or "main")
    own = {"random": config.pop("model_type"), "tokenizer": spec.tokenizer_location}
    shape = ModelSpec.model_validate({**config, **own})
    shape = shape.model_copy(update={"quantize": spec.quantize})  # which decides what can run
    return shape.in_suite(spec.chat_template, spec.attention)
