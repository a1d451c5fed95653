"""Whole weights are loaded as the start was: with its attention, and with its own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.models.artifact import describe, form_of, open_artifact, save_model
from bench.models.load import load_model
from bench.models.spec import ModelSpec
from bench.models.start import Start, load_start

CPU = torch.device("cpu")
CODE = {
    "configuration_own.py": """
from transformers import LlamaConfig

class OwnConfig(LlamaConfig):
    model_type = "own"
""",
    "modeling_own.py": """
from transformers import LlamaForCausalLM
from .configuration_own import OwnConfig

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
""",
}
WHERE = {
    "AutoConfig": "configuration_own.OwnConfig",
    "AutoModelForCausalLM": "modeling_own.OwnModel",
}


def _saved(model: Any, folder: Path, start: Start, known: ModelSpec) -> Any:
    save_model(model, folder, torch.float32, start)
    describe(folder, form_of(model, start), start, known)
    return open_artifact(folder, known, torch.float32, CPU, lambda form: pytest.fail())


def test_whole_weights_attend_as_their_start(tmp_path: Path) -> None:
    spec = ModelSpec(path="tiny").in_suite(attention="eager")
    model = load_model(spec, torch.float32, CPU)
    again = _saved(model, tmp_path, Start(spec), spec)
    assert again.config._attn_implementation == "eager"


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place of this test alone for code that comes with models."""
    place = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", place)
    monkeypatch.syspath_prepend(place)


def _with_code(place: Path, where: dict[str, str] = WHERE) -> None:
    load_model(ModelSpec(path="tiny"), torch.float32, CPU).save_pretrained(str(place))
    for name, code in CODE.items():
        (place / name).write_text(code)
    config = json.loads((place / "config.json").read_text())
    config |= {"model_type": "own", "architectures": ["OwnModel"], "auto_map": where}
    (place / "config.json").write_text(json.dumps(config))


def _demand_own_code(known: ModelSpec, folder: Path) -> None:
    """Also in what is saved, and in what is saved by a later part of a chain."""
    start = Start(known)
    for number in range(2):
        model = load_start(start, torch.float32, CPU)
        again = _saved(model, folder / str(number), start, known)
        assert type(again).__name__ == "OwnModel"
        start = start.moved(folder / str(number))


@pytest.mark.usefixtures("modules")
def test_weights_of_a_model_with_its_own_code(tmp_path: Path) -> None:
    _with_code(tmp_path / "own")
    known = ModelSpec(path=str(tmp_path / "own"), tokenizer="tiny", trust_remote_code=True)
    _demand_own_code(known, tmp_path)


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize("another", [False, True])
def test_code_stays_at_the_revision_that_was_asked_for(
    another: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a hub's cache has it: the code of the model has changed since, or is another's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    elsewhere = {kind: f"maker/code--{name}" for kind, name in WHERE.items()}
    _with_code(_revision(tmp_path, "own", "v1", "1" * 40), elsewhere if another else WHERE)
    changed = _revision(tmp_path, "own", "main", "2" * 40)
    _with_code(changed)
    for name in CODE:
        (changed / name).write_text("raise RuntimeError('it has changed')")
    _with_code(_revision(tmp_path, "code", "main", "3" * 40))
    known = ModelSpec(path="maker/own", revision="v1", tokenizer="tiny", trust_remote_code=True)
    _demand_own_code(known, tmp_path)


def _revision(folder: Path, name: str, revision: str, commit: str) -> Path:
    """Where a hub's cache has this commit of a model."""
    repository = folder / "hub" / f"models--maker--{name}"
    reference = repository / "refs" / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit)
    return repository / "snapshots" / commit
