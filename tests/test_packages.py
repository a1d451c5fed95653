"""What a user installs: the wheels hold what they need and no more, and work far from the clone."""

from __future__ import annotations

import csv
import json
import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT
from .fresh import SOURCES, FreshEnvironment, build_wheels

FAMILIES = {source.name for source in SOURCES[1:]}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_wheels(tmp_path_factory.mktemp("wheels"))


def test_each_family_is_an_extra_and_all_brings_every_package() -> None:
    project = _project(ROOT)
    extras, version = project["optional-dependencies"], project["version"]
    for source in SOURCES[1:]:
        plugin = _project(source)
        assert extras[source.name] == [f"{plugin['name']}~={version}"]
        assert f"{project['name']}~={version}" in plugin["dependencies"]
        assert plugin["version"] == version
    (everything,) = extras["all"]
    named = re.fullmatch(rf"{project['name']}\[(.*)\]", everything)
    assert named and set(named[1].split(",")) >= FAMILIES


@pytest.mark.slow
def test_a_wheel_holds_its_package_and_nothing_else(wheels: list[Path]) -> None:
    assert len(wheels) == len(SOURCES)
    for source in SOURCES:
        project = _project(source)
        stem = f"{project['name'].replace('-', '_')}-{project['version']}"
        (wheel,) = (file for file in wheels if file.name.startswith(stem))
        with zipfile.ZipFile(wheel) as archive:
            held = {name for name in archive.namelist() if ".dist-info/" not in name}
            licence = archive.read(f"{stem}.dist-info/licenses/LICENSE")
            metadata = archive.read(f"{stem}.dist-info/METADATA").decode()
        assert licence == (ROOT / "LICENSE").read_bytes()
        assert "License-Expression: Apache-2.0" in metadata
        assert (source / "README.md").read_text().strip() in metadata
        package = source / ("bench" if source == ROOT else project["name"].replace("-", "_"))
        files = (file for file in package.rglob("*") if file.is_file())
        assert held == {str(f.relative_to(source)) for f in files if f.suffix != ".pyc"}


@pytest.mark.slow
def test_the_core_alone_says_what_to_install(wheels: list[Path], tmp_path: Path) -> None:
    place = FreshEnvironment(tmp_path / "env", _project_of_a_user(tmp_path))
    place.install("--find-links", wheels[0].parent, "finetuning-bench")
    version = _project(ROOT)["version"]
    assert place.call("bench", "--version") == f"finetuning-bench {version}\n"
    told = place.call("bench", "plan", "suite.yaml", code=2)
    assert "there is no method sft" in told and 'pip install "finetuning-bench[all]"' in told
    assert "Traceback" not in told
    listed = place.call("bench", "methods")
    assert f"Not installed: {', '.join(sorted(FAMILIES))}." in listed
    place.install("--find-links", wheels[0].parent, "finetuning-bench[peft]")
    assert "Not installed: continual, distillation, merge, preference" in place.call(
        "bench", "methods"
    )


@pytest.mark.slow
def test_a_project_of_its_own_gets_its_table(wheels: list[Path], tmp_path: Path) -> None:
    """The example of docs/install.md, with the embedded model and a small budget."""
    work = _project_of_a_user(tmp_path)
    place = FreshEnvironment(tmp_path / "env", work)
    place.install("--find-links", wheels[0].parent, "finetuning-bench[all]")
    origins = json.loads(place.call("python", "-c", ORIGINS))
    assert len(origins["files"]) == len(SOURCES)
    assert all(Path(file).is_relative_to(place.site) for file in origins["files"]), origins
    assert origins["methods"] == sorted(
        name
        for source in SOURCES
        for name in _project(source)["entry-points"].get("bench.methods", {})
    )

    assert "Not installed" not in place.call("bench", "methods")
    place.call("bench", "run", "suite.yaml", "--quiet")
    with (work / "results/reviews/report/table.csv").open() as stream:
        status = {row["recipe"]: row["status"] for row in csv.DictReader(stream)}
    assert status == {"base": "ok", "sft": "ok", "lora": "ok", "dpo": "ok"}
    assert (work / "results/reviews/report/report.html").is_file()


ORIGINS = """
import json, sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

methods = entry_points(group="bench.methods")
packages = sorted({"bench"} | {entry.module.split(".")[0] for entry in methods})
print(json.dumps({
    "files": [import_module(name).__file__ for name in packages],
    "methods": sorted(entry.name for entry in methods),
}))
"""


def _project(source: Path) -> dict[str, Any]:
    return tomllib.loads((source / "pyproject.toml").read_text())["project"]


def _project_of_a_user(folder: Path) -> Path:
    """The files of the example in docs/install.md, in words that the embedded model knows."""
    text = (ROOT / "docs/install.md").read_text().split("<!-- example: reviews -->")[1]
    suite, task = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (shown,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    first = json.loads(shown.splitlines()[0])
    suite, changes = re.subn(r"model: \S+", "model: tiny", suite)
    suite, more = re.subn(r"(?<=tokens: )\S+(?=})", "1k", suite)
    suite, most = re.subn(r"seeds: 3", "seeds: 1", suite)
    assert changes == more == most == 1
    words = {first["label"]: "gold", first["other"]: "stone"}
    work = folder / "my-project"
    work.mkdir()
    for name, content in (("suite.yaml", suite), ("reviews.yaml", task)):
        tiny = re.sub("|".join(words), lambda label: words[label[0]], content)
        (work / name).write_text(tiny)
    rows = [
        dict(zip(first, (f"the {animal} owns a {thing} .", label, other), strict=True))
        for animal in ("cat", "dog", "fish", "goat", "horse", "snake", "camel", "goose")
        for thing, label, other in (("ring", "gold", "stone"), ("hill", "stone", "gold"))
    ]
    parts = {"reviews": rows[::2], "reviews-dev": rows[1::4], "reviews-test": rows[3::4]}
    for name, chosen in parts.items():
        (work / f"{name}.jsonl").write_text("\n".join(map(json.dumps, chosen)))
    return work
