"""A finished suite is shown again, and not worked out again as long as nothing has changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..conftest import Bench
from .test_growth import growth


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite whose results are finished, and have not been reported."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = growth()
    file = made.write_suite(tmp_path / "suite.yaml", 2, 2)
    made.finish(file, tmp_path / "results")
    return file


def _report(folder: Path) -> dict[str, int]:
    files = (folder / "results/growth/report").iterdir()
    return {file.name: file.stat().st_mtime_ns for file in files}


def test_an_unchanged_suite_is_shown_as_it_was(suite: Path, tmp_path: Path, bench: Bench) -> None:
    first = bench("run", suite)
    assert "lora-1" in first.stdout
    written = _report(tmp_path)
    again = bench("run", suite)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert bench("run", suite, "--quiet").stdout == ""
    assert _report(tmp_path) == written
    assert json.loads(bench("run", suite, "--json").stdout)["rows"]


def test_whatever_changed_is_seen(suite: Path, tmp_path: Path, bench: Bench) -> None:
    bench("run", suite)
    page = tmp_path / "results/growth/report/report.html"
    page.unlink()
    bench("run", suite)
    assert page.is_file()
    record = next((tmp_path / "results/growth/records").glob("lora-1*"))
    record.write_text(record.read_text().replace("lora-1", "lora-2"))
    changed = bench("run", suite)
    assert changed.returncode == 2
    assert "checksum" in changed.stderr


def test_an_artifact_that_stayed_in_the_cache_is_put_away_later(
    suite: Path, tmp_path: Path, bench: Bench
) -> None:
    suite.write_text(f"{suite.read_text()}artifacts: file://{tmp_path}/kept\n")
    plan = json.loads((tmp_path / "results/growth/plan.json").read_text())
    run = plan["runs"][-1]
    artifact = tmp_path / "cache/bench/growth" / run / "artifact"
    artifact.mkdir(parents=True)
    (artifact / "adapter.safetensors").write_bytes(b"weights")
    there = tmp_path / "kept/growth" / run
    there.parent.mkdir(parents=True)
    there.write_text("a file where a folder belongs")
    for voice in (["--quiet"], ["--json"], []):
        told = bench("run", suite, *voice)
        assert told.returncode == 0
        heard = told.stderr if voice else told.stdout
        assert "its artifact stays in" in " ".join(heard.split())
        assert "stays" not in (told.stdout if voice else told.stderr)
    assert artifact.is_dir()
    there.unlink()
    assert bench("run", suite).returncode == 0
    assert (there / "adapter.safetensors").read_bytes() == b"weights"
    assert not artifact.exists()
