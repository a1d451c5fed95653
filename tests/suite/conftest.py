"""Data of one's own, for all tests of suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from .own import EVALUATION, SUITE, jsonl, rows


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a suite of one's own and good data."""
    for name, count in (("train", 20), ("dev", 5), ("test", 6)):
        jsonl(tmp_path, name, rows(name, count))
    (tmp_path / "own.yaml").write_text(SUITE)
    (tmp_path / "reviews.yaml").write_text(EVALUATION)
    return tmp_path
