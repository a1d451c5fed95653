"""The door for strangers: a package from `bench new-method`, installed outside of this repository,
stands in the table beside lora.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from .conftest import ROOT, Bench, environment


@pytest.mark.slow
def test_a_new_method_in_a_fresh_environment_is_a_row_beside_lora(tmp_path: Path) -> None:
    place = tmp_path / "env"
    venv.create(place, with_pip=True)
    # The heavy libraries are borrowed; bench, its plugin and the new method are installed into the
    # environment itself.
    borrowed = (
        Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
        / "borrowed.pth"
    )
    borrowed.write_text(sysconfig.get_path("purelib") + "\n")
    _call(
        tmp_path,
        place,
        "pip",
        "install",
        "--quiet",
        *OFFLINE,
        str(ROOT),
        str(ROOT / "plugins/peft"),
    )
    _call(tmp_path, place, "bench", "new-method", "my-method")
    _call(tmp_path, place, "pip", "install", "--quiet", *OFFLINE, "./my-method")

    checked = json.loads(_call(tmp_path, place, "bench", "check", "my-method", "--json"))
    assert checked["ok"] and len(checked["checks"]) == 10
    origin = next(
        p
        for p in json.loads(_call(tmp_path, place, "bench", "methods", "--json"))
        if p["name"] == "my-method"
    )
    assert (origin["package"], origin["problem"]) == ("my-method", None)
    suite = tmp_path / "my-method/suite.yaml"
    suite.write_text(suite.read_text().replace("50k", "2k"))
    _call(tmp_path, place, "bench", "run", str(suite), "--quiet")
    with (tmp_path / "results/my-method/report/table.csv").open() as stream:
        status = {row["recipe"]: row["status"] for row in csv.DictReader(stream)}
    assert status == {"base": "ok", "lora": "ok", "my-method": "ok"}
    _call(tmp_path / "my-method", place, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider")


OFFLINE = ("--disable-pip-version-check", "--no-deps", "--ignore-installed", "--no-build-isolation")


def _call(folder: Path, place: Path, program: str, *arguments: str) -> str:
    """Run a program of the environment, which knows nothing of this one's."""
    inherited = {
        k: v for k, v in environment(folder).items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    result = subprocess.run(
        [str(place / "bin" / program), *arguments],
        check=False,
        cwd=folder,
        env=inherited,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_a_name_that_cannot_be_is_refused_with_the_reason(bench: Bench, tmp_path: Path) -> None:
    for name, told in (
        ("My_method", "small letters"),
        ("lora", "there is a method lora already"),
        ("class", "Python's own"),
    ):
        result = bench("new-method", name, "--to", tmp_path)
        assert result.returncode == 2
        assert told in result.stderr
    (tmp_path / "mine").mkdir()
    assert "exists already" in bench("new-method", "mine", "--to", tmp_path).stderr
    assert not list((tmp_path / "mine").iterdir())
