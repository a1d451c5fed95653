"""The door for strangers: a package from `bench new-method`, installed outside of this repository,
stands in the table beside lora.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ..conftest import ROOT, Bench
from ..fresh import FreshEnvironment


@pytest.mark.slow
def test_a_new_method_in_a_fresh_environment_is_a_row_beside_lora(tmp_path: Path) -> None:
    place = FreshEnvironment(tmp_path / "env", tmp_path)
    place.install(ROOT, ROOT / "plugins/peft")
    place.call("bench", "new-method", "my-method")
    place.install("./my-method")

    checked = json.loads(place.call("bench", "check", "my-method", "--json"))
    assert checked["ok"] and len(checked["checks"]) == 10
    origin = next(
        p for p in json.loads(place.call("bench", "methods", "--json")) if p["name"] == "my-method"
    )
    assert (origin["package"], origin["problem"]) == ("my-method", None)
    suite = tmp_path / "my-method/suite.yaml"
    suite.write_text(suite.read_text().replace("50k", "2k"))
    place.call("bench", "run", suite, "--quiet")
    with (tmp_path / "results/my-method/report/table.csv").open() as stream:
        status = {row["recipe"]: row["status"] for row in csv.DictReader(stream)}
    assert status == {"base": "ok", "lora": "ok", "my-method": "ok"}
    place.call("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "my-method")


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
