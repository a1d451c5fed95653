"""CSV files whose rows do not fit their first line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data import raw
from bench.data.raw import BadData


def _rows(folder: Path, text: str, path: str = "csv") -> list[dict[str, object]]:
    (folder / "data").mkdir()
    (folder / "data/train.csv").write_text(text)
    files = "data/train.csv" if path == "csv" else None
    found = raw.rows(raw.origin(path, None, None, None, files, folder), "train")
    return [dict(row) for row in found.to_list()]


@pytest.mark.parametrize("path", ["csv", "./data"])
def test_more_cells_than_names_are_refused(tmp_path: Path, path: str) -> None:
    text = 'prompt,completion\n\n"two\nlines",b,c\nd,e,f\n'
    told = "data/train.csv, line 3: it has 3 cells, and the first line has 2"
    with pytest.raises(BadData, match=told):
        _rows(tmp_path, text, path)


def test_cells_stay_with_their_names(tmp_path: Path) -> None:
    text = '\nprompt,completion\n"one, two",b\nc,\n'
    assert _rows(tmp_path, text) == [
        {"prompt": "one, two", "completion": "b"},
        {"prompt": "c", "completion": None},
    ]
