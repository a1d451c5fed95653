"""Artifacts load strictly or not at all: broken ones are failed rows without a number, and a method
may bring a form of its own.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..conftest import ROOT, Bench, run_in

pytestmark = pytest.mark.slow

SOURCE = """
import json, pathlib
import torch
from safetensors.torch import load_file, save_file
import bench.methods.artifact as artifact
from {package} import {method} as Whole

def tensors(folder, change):
    file = next(folder.glob("*.safetensors"))
    found = load_file(file)
    name = next(n for n in sorted(found) if found[n].dim() == 2 and len(set(found[n].shape)) == 2)
    change(found, name)
    save_file({{n: t.contiguous() for n, t in found.items()}}, file, metadata={{"format": "pt"}})

def manifest(folder, **changes):
    file = folder / "artifact.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))

def rename(found, name): found[name + ".other"] = found.pop(name)
def drop(found, name): del found[name]
def add(found, name): found["one.more"] = torch.zeros(3)
def transpose(found, name): found[name] = found[name].T
def double(found, name): found[name] = found[name].double()
def zero(found, name): found[name] = found[name] * 0
def empty(folder): next(folder.glob("*.safetensors")).write_bytes(b"")
def none(folder): next(folder.glob("*.safetensors")).unlink()
def pickle(folder): torch.save({{}}, folder / "adapter_model.bin")
def foreign(folder): manifest(folder, base="another")

class Plugin(Whole):
    def train(self, session):
        described = artifact.describe
        def broken(folder, *rest):
            described(folder, *rest)
            {breaking}
        artifact.describe = broken
        return super().train(session)
"""
LORA, SFT = ("bench_peft", "Lora"), ("bench_supervised", "SFT")
BROKEN = {
    "adapter-renamed": (LORA, "tensors(folder, rename)", "missing in the artifact"),
    "adapter-dropped": (LORA, "tensors(folder, drop)", "missing in the artifact"),
    "adapter-added": (LORA, "tensors(folder, add)", "one.more: unexpected in the artifact"),
    "adapter-transposed": (LORA, "tensors(folder, transpose)", "size mismatch"),
    "adapter-double": (LORA, "tensors(folder, double)", "of the wrong type"),
    "adapter-zero": (LORA, "tensors(folder, zero)", "not the one that was trained"),
    "adapter-empty": (LORA, "empty(folder)", "cannot be read"),
    "adapter-none": (LORA, "none(folder)", "no safetensors file"),
    "adapter-pickle": (LORA, "pickle(folder)", "only safetensors and JSON"),
    "adapter-foreign": (LORA, "foreign(folder)", "another start model"),
    "weights-renamed": (SFT, "tensors(folder, rename)", "missing in the artifact"),
    "weights-dropped": (SFT, "tensors(folder, drop)", "missing in the artifact"),
    "weights-added": (SFT, "tensors(folder, add)", "one.more: unexpected in the artifact"),
    "weights-transposed": (SFT, "tensors(folder, transpose)", "shape"),
    "weights-double": (SFT, "tensors(folder, double)", "of the wrong type"),
}


def test_broken_artifacts_are_failed_rows(
    bench_process: Bench, plugin: Callable[[str, str], str], tmp_path: Path
) -> None:
    site = ""
    for name, ((package, method), breaking, _) in BROKEN.items():
        source = SOURCE.format(package=package, method=method, breaking=breaking)
        site = plugin(name, source)
    methods = "".join(f"  - {name}: {{lr: 1.0e-3}}\n" for name in BROKEN)
    (tmp_path / "suite.yaml").write_text(_suite("broken", methods))
    result = bench_process("run", "suite.yaml", PYTHONPATH=site)
    assert result.returncode == 1, result.stdout + result.stderr
    rows = _rows(tmp_path / "results/broken")
    for name, (_, _, words) in BROKEN.items():
        assert rows[name]["status"] == "failed", name
        assert words in rows[name]["reason"], (name, rows[name]["reason"])
        assert rows[name]["target_accuracy"] == "", "a row that failed has no number"


def test_the_adapter_of_the_docs_has_a_form_of_its_own(tmp_path: Path) -> None:
    """Written from docs/writing-a-method.md alone, installed for real, run, chained, published."""
    text = (ROOT / "docs/writing-a-method.md").read_text()
    source, project = _examples(text)
    assert len(source.splitlines()) < 80
    package = tmp_path / "package"
    package.mkdir()
    (package / "houlsby.py").write_text(source)
    (package / "pyproject.toml").write_text(project)
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    install += ["--no-build-isolation", "--target", str(site), str(package)]
    subprocess.run(install, check=True, capture_output=True)
    bench = partial(run_in, tmp_path, PYTHONPATH=str(site))
    checked = bench("check", "bottleneck")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    methods = (
        "  - bottleneck: {lr: 1.0e-2}\n"
        "  - chain: [bottleneck: {lr: 1.0e-2}, dpo: {lr: 1.0e-5}]\n    as: then-dpo\n"
    )
    (tmp_path / "suite.yaml").write_text(_suite("own", methods) + "artifacts: keep\n")
    ran = bench("run", "suite.yaml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for file in (tmp_path / "results/own/records").glob("*.json"):
        record = json.loads(file.read_text())
        if record["recipe"] != "base":
            assert record["evaluation"]["agreement"]["max_difference"] == 0, "bit for bit"
    published = bench("publish", "results/own", "--to", "site-out", "--adapters")
    assert published.returncode == 0, published.stderr
    assert list((tmp_path / "site-out").rglob("bottleneck.safetensors"))


def _examples(text: str) -> tuple[str, str]:
    after = text.split("<!-- example: bottleneck -->")[1]
    code = re.search(r"```python\n(.*?)```", after, re.S)
    project = re.search(r"```toml\n(.*?)```", after, re.S)
    assert code and project
    return code[1], project[1]


def _suite(name: str, methods: str) -> str:
    return (
        f"suite: {name}\nmodel: tiny\ntarget: tiny/smallest\nretain: [tiny/last]\n"
        "budget: {tokens: 2k}\nbatch: {size: 16, max_length: 64}\nseeds: 1\n"
        f"methods:\n{methods}"
    )


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    with (folder / "report/table.csv").open() as stream:
        return {row["recipe"]: row for row in csv.DictReader(stream)}
