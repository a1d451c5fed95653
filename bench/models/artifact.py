"""What a run saved, and loading it again: safetensors and JSON only, strictly or not at all.

Two forms ship: PEFT adapters and whole weights. A method may bring a form of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.models import codecs
from bench.models.precision import as_saved, compute_in
from bench.models.sharding import save_on_every_rank
from bench.models.spec import ModelSpec, fingerprint
from bench.models.start import Attached, Loader, Start, load_start
from bench.system.errors import BrokenArtifact

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

MANIFEST = "artifact.json"
START = "start"
"""Folder inside an artifact with the weights under it, where they are not the suite's model."""
ATTACHED = "attached"
"""Folder inside an artifact with the artifacts that lie under it, by number."""
ALLOWED = {".safetensors", ".json", ".md", ".jinja", ".txt", ".model"}

WEIGHTS, WEIGHTS_ON_START, ADAPTER = "weights", "weights-on-start", "peft"
Form = dict[str, Any]
"""How an artifact is described on disk: its `form`, and for one of a method's own the `method` and
its `parameters`.
"""


class CannotMerge(Exception):
    """An adapter that has to become part of its base cannot."""


def form_of(model: Any, start: Start) -> Form:
    """Which of the shipped forms a trained model is saved in."""
    from peft import PeftModel

    if isinstance(model, PeftModel):
        return {"form": ADAPTER}
    return {"form": WEIGHTS_ON_START if start.attached else WEIGHTS}


def save_model(model: Any, folder: Path, dtype: torch.dtype, start: Start) -> None:
    """Save in one of the shipped forms; all weights are saved in the suite's precision."""
    shutil.rmtree(folder, ignore_errors=True)
    save_on_every_rank(model)
    match form_of(model, start)["form"]:
        case "peft":
            model.save_pretrained(str(folder))
        case "weights":
            codecs.save_weights(as_saved(model, dtype), folder, start.spec)
        case _:
            codecs.save_weights_on_start(as_saved(model, dtype), folder)


def describe(folder: Path, form: Form, start: Start, known: ModelSpec) -> None:
    """Complete an artifact: what lies under it, and a manifest that says how to load it."""
    if start.spec != known and form["form"] != WEIGHTS:
        shutil.copytree(start.spec.location, folder / START)
    below = []
    for number, attached in enumerate(start.attached if form["form"] != WEIGHTS else ()):
        shutil.copytree(attached.folder, folder / ATTACHED / str(number))
        below.append(attached.form)
    content = {**form, "base": fingerprint(known), "attached": below}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    refuse_pickles(folder)


def refuse_pickles(folder: Path) -> None:
    """Raise `BrokenArtifact` where a file is neither safetensors nor plain text."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix not in ALLOWED:
            raise BrokenArtifact(f"{file.name}: only safetensors and JSON may be in an artifact")


def open_artifact(
    folder: Path,
    known: ModelSpec,
    dtype: torch.dtype,
    device: torch.device,
    own_loader: Callable[[Form], Loader],
) -> Any:
    """The model that an artifact and the suite's model make together.

    `own_loader` finds the loader of a method's own form. Raises `BrokenArtifact`.
    """
    refuse_pickles(folder)
    form = _manifest(folder)
    if form["base"] != fingerprint(known):
        raise BrokenArtifact("it was made from another start model than the suite's")
    if form["form"] == WEIGHTS:
        model = codecs.load_weights(folder, dtype, known).to(device)
        compute_in(model, dtype)
        return model
    spec = known.moved(folder / START) if (folder / START).is_dir() else known
    attached = [
        Attached(folder / ATTACHED / str(number), below, loader_of(below, own_loader))
        for number, below in enumerate(form["attached"])
    ]
    base = load_start(Start(spec, tuple(attached)), dtype, device)
    compute_in(base, dtype)  # as in training, where the method adds to a model that does so
    return loader_of(form, own_loader)(base, folder).to(device)


def _manifest(folder: Path) -> Form:
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BrokenArtifact(f"{MANIFEST} cannot be read: {error}") from error


def loader_of(form: Form, own_loader: Callable[[Form], Loader]) -> Loader:
    """How an artifact of this form is put onto a model."""
    shipped = {ADAPTER: codecs.load_adapter, WEIGHTS_ON_START: codecs.load_weights_on_start}
    return shipped.get(form["form"]) or own_loader(form)


def save_merged(model: Any, folder: Path, dtype: torch.dtype, known: ModelSpec) -> None:
    """Save a model's weights, its adapter merged into them; `CannotMerge` when that is impossible.
    The model is of no use afterwards.
    """
    codecs.save_weights(as_saved(merge_adapter(model), dtype), folder, known)


def merge_adapter(model: Any) -> PreTrainedModel:
    """The model with its adapter merged into its weights; `CannotMerge` when that is impossible."""
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        return model
    said = (
        f"an adapter of {type(model.active_peft_config).__name__} cannot be merged into its base,"
        " so nothing can follow it"
    )
    if not hasattr(model.base_model, "merge_and_unload"):
        raise CannotMerge(said)
    try:
        return model.merge_and_unload()
    except Exception as error:  # each of PEFT's tuners says in its own way that it cannot
        raise CannotMerge(f"{said}: {error}") from error
