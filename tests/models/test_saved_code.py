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


def test_weights_of_a_model_with_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", modules)
    monkeypatch.syspath_prepend(modules)
    place = tmp_path / "own"
    load_model(ModelSpec(path="tiny"), torch.float32, CPU).save_pretrained(str(place))
    for name, code in CODE.items():
        (place / name).write_text(code)
    config = json.loads((place / "config.json").read_text())
    config |= {"model_type": "own", "architectures": ["OwnModel"], "auto_map": WHERE}
    (place / "config.json").write_text(json.dumps(config))
    known = ModelSpec(path=str(place), tokenizer="tiny", trust_remote_code=True)
    start = Start(known)
    for number in range(2):  # the second follows the first in a chain
        model = load_start(start, torch.float32, CPU)
        again = _saved(model, tmp_path / str(number), start, known)
        assert type(again).__name__ == "OwnModel"
        start = start.moved(tmp_path / str(number))
