"""Rows that every side trains on: of the tiny language for tiny, else sentences of docs/."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHORTEST, LONGEST = 6, 60  # words of a sentence
TASK = """
task: rows
dataset_path: json
dataset_kwargs: {data_files: {test: asked.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: "{{[chosen, rejected]}}"
doc_to_target: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def write(model: str, folder: Path, asked: int = 4) -> None:
    """Put rows.jsonl, and an evaluation that asks so many of them, into a folder."""
    rows = _tiny() if model == "tiny" else _sentences()
    folder.mkdir(parents=True, exist_ok=True)
    for name, some in (("rows", rows), ("asked", rows[:asked])):
        text = "".join(json.dumps(row) + "\n" for row in some)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "rows.yaml").write_text(TASK, encoding="utf-8")


def _tiny() -> list[dict[str, str]]:
    from bench.tiny.tasks import items

    return [
        {"prompt": item.prompt, "chosen": f" {item.answer}", "rejected": f" {item.mistakes[0]}"}
        for item in items("smallest", "train")
    ]


def _sentences() -> list[dict[str, str]]:
    """Prompts are the first two thirds of a sentence. The wrong completion is another's end."""
    text = "\n".join(file.read_text("utf-8") for file in sorted((ROOT / "docs").glob("*.md")))
    text = re.sub(r"```.*?```|^[|#].*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    split = [part.split() for part in re.split(r"(?<=[.:])\s+", text)]
    words = [part for part in split if SHORTEST <= len(part) <= LONGEST]
    random.Random(0).shuffle(words)
    cuts = [len(part) * 2 // 3 for part in words]
    ends = [" " + " ".join(part[cut:]) for part, cut in zip(words, cuts, strict=True)]
    return [
        {"prompt": " ".join(part[:cut]), "chosen": end, "rejected": other}
        for part, cut, end, other in zip(words, cuts, ends, ends[1:] + ends[:1], strict=True)
    ]
