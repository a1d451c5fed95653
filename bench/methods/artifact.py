"""Saving what a recipe made and loading it: in a form that ships, or in the method's own."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from bench.methods import registry
from bench.models import codecs
from bench.models.artifact import (
    WEIGHTS_ON_START,
    CannotMerge,
    Form,
    describe,
    form_of,
    merge_adapter,
    refuse_pickles,
    save_model,
)
from bench.models.sharding import whole_weights
from bench.models.spec import ModelSpec
from bench.models.start import Attached, Loader, Start
from bench.system.errors import BrokenArtifact, Skipped

if TYPE_CHECKING:
    from bench.methods.session import Session

OWN = "own"


@runtime_checkable
class OwnForm(Protocol):
    """A method whose result is neither a PEFT adapter nor a plain model."""

    def save(self, model: Any, folder: Path) -> None:
        """Write everything that is not the base into a folder: safetensors and JSON only."""
        ...

    def load(self, base: Any, folder: Path) -> Any:
        """Put what `save` wrote onto a fresh base, strictly, and give the whole."""
        ...


def save_result(session: Session, model: Any, folder: Path, known: ModelSpec) -> None:
    """Save what a session's recipe made, with all that a fresh process needs beside the suite's
    model.
    """
    form = _save(session, model, folder)
    describe(folder, form, session.start, known)


def _save(session: Session, model: Any, folder: Path) -> Form:
    name, method = session.made_by
    parameters = method.model_dump(mode="json")
    if not isinstance(method, OwnForm):
        save_model(model, folder, session.dtype, session.start)
        return form_of(model, session.start)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    method.save(model, folder)
    refuse_pickles(folder)
    return {"form": OWN, "method": name, "parameters": parameters}


def own_loader(form: Form) -> Loader:
    """How an artifact of a method's own form is loaded; `BrokenArtifact` where that method is not
    there.
    """
    return own_form(registry.usable(form["method"]).model_validate(form["parameters"]))


def own_form(method: Any) -> Loader:
    """How one method loads what it saved; `BrokenArtifact` where it cannot."""
    if not isinstance(method, OwnForm):
        raise BrokenArtifact(f"{type(method).__name__} has no load() for its form")
    return partial(_load_own, method)


def _load_own(method: OwnForm, base: Any, folder: Path) -> Any:
    """Load strictly: what was loaded must save as what was saved."""
    saved = codecs.read_tensors(folder)
    try:
        model = method.load(base, folder)
    except (RuntimeError, KeyError, ValueError) as error:
        raise BrokenArtifact(f"load() failed: {error}") from error
    with TemporaryDirectory() as again:
        method.save(model, Path(again))
        codecs.demand_equal(saved, codecs.read_tensors(Path(again)))
    return model


def next_start(session: Session, model: Any, name: str) -> Start:
    """A trained model as the start of what follows it.

    PEFT adapters become part of the weights, `Skipped` where they cannot; modules of a method's own
    stay what they are.
    """
    folder = session.folder / name
    with session.unmetered(), whole_weights(model):
        if isinstance(session.made_by[1], OwnForm):
            form = _save(session, model, folder)
            return session.start.with_attached(Attached(folder, form, own_loader(form)))
        try:
            merged = merge_adapter(model)
        except CannotMerge as error:
            raise Skipped(str(error)) from error
        save_model(merged, folder, session.dtype, session.start)
    if not session.start.attached:
        return session.start.moved(folder)
    form = {"form": WEIGHTS_ON_START}
    return session.start.with_attached(Attached(folder, form, codecs.load_weights_on_start))
