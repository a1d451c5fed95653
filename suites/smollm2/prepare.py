"""Makes the files of data/ that no template can make: run `python suites/smollm2/prepare.py`
once, at the root of the repository.

words/mawps-train-unseen.jsonl, words/mawps-valid.jsonl
    MAWPS without the questions that a test file has too. Most of MultiArith is part of MAWPS. No
    question of the second file, which is for choosing, is in the first.
hh-rlhf-harmless-train.jsonl, hh-rlhf-harmless-unpaired.jsonl, hh-rlhf-harmless-judge.jsonl,
hh-rlhf-harmless-test.jsonl
    Dialogues of HH-RLHF as lists of turns, in the shape of TRL. The test holds pairs of answers to
    a single question. judge.py trains on the judge's pairs, which no method sees. No two of the
    files have a dialogue that begins with the same question.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TEST_PAIRS = 300
FOR_CHOOSING = 0.12  # of the word problems that no test asks
FOR_THE_JUDGE = 0.5  # of the other questions
SPEAKERS = {"Human": "user", "Assistant": "assistant"}

Row = dict[str, Any]


def main(data: Path) -> None:
    """Make the files in a folder; one that is not there is told."""
    problems = [f"words/{name}.jsonl" for name in ("mawps-train", "mawps-test", "multiarith-test")]
    for make, needed in ((words, problems), (dialogues, ["hh-rlhf-harmless.jsonl"])):
        if missing := [name for name in needed if not (data / name).is_file()]:
            print(f"left out, as there is no {', no '.join(missing)} in {data}")
        else:
            make(data)


def words(data: Path) -> None:
    """MAWPS without what the tests ask, compared by letters and digits alone. What is for choosing
    is drawn by the hash of the question, so that it stays the same when rows are added.
    """
    asked = {
        _plain(row["question"])
        for name in ("mawps-test", "multiarith-test")
        for row in _read(data / f"words/{name}.jsonl")
    }
    rows = list(_read(data / "words/mawps-train.jsonl"))
    kept = [row for row in rows if _plain(row["question"]) not in asked]
    valid = [row for row in kept if _share(_plain(row["question"])) < FOR_CHOOSING]
    train = [row for row in kept if _share(_plain(row["question"])) >= FOR_CHOOSING]
    _write(data / "words/mawps-valid.jsonl", valid)
    _write(data / "words/mawps-train-unseen.jsonl", train)
    print(
        f"MAWPS: {len(kept)} of {len(rows)} training rows are in no test;"
        f" {len(train)} to train on, {len(valid)} for choosing"
    )


def dialogues(data: Path) -> None:
    """HH-RLHF as turns. The test is drawn by the hash of the question, so that it stays the same
    when rows are added.
    """
    pairs = [pair for row in _read(data / "hh-rlhf-harmless.jsonl") if (pair := _pair(row))]
    single = {_first(pair) for pair in pairs if len(pair["prompt"]) == 1}
    drawn = set(sorted(single, key=_share)[:TEST_PAIRS])
    test = [pair for pair in pairs if _first(pair) in drawn and len(pair["prompt"]) == 1]
    others = [pair for pair in pairs if _first(pair) not in drawn]
    judge = [pair for pair in others if _share(_first(pair)) < FOR_THE_JUDGE]
    train = [pair for pair in others if _share(_first(pair)) >= FOR_THE_JUDGE]
    _write(data / "hh-rlhf-harmless-judge.jsonl", judge)
    _write(data / "hh-rlhf-harmless-train.jsonl", train)
    _write(
        data / "hh-rlhf-harmless-unpaired.jsonl",
        (
            {"prompt": pair["prompt"], "completion": pair[kind], "label": kind == "chosen"}
            for pair in train
            for kind in ("chosen", "rejected")
        ),
    )
    _write(
        data / "hh-rlhf-harmless-test.jsonl",
        (
            {"question": pair["prompt"][0]["content"]}
            | {kind: pair[kind][0]["content"] for kind in ("chosen", "rejected")}
            for pair in test
        ),
    )
    counts = f"{len(train)} pairs to train on, {len(judge)} for the judge, {len(test)} to test on"
    print(f"HH-RLHF: {counts}")


def _share(text: str) -> float:
    """A number from 0 to 1 that the text decides."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) / 16**16


def _pair(row: Row) -> Row | None:
    """Prompt and the two last answers; None where the dialogues differ before those, or where an
    answer or a question is empty.
    """
    chosen, rejected = _turns(row["chosen"]), _turns(row["rejected"])
    whole = all(turn["content"] for turn in (*chosen, *rejected))
    answers = chosen[-1]["role"] == rejected[-1]["role"] == "assistant"
    if chosen[:-1] != rejected[:-1] or not (whole and answers and len(chosen) > 1):
        return None
    return {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}


def _turns(dialogue: str) -> list[dict[str, str]]:
    parts = re.split(r"\n\n(Human|Assistant):", dialogue)[1:]
    return [
        {"role": SPEAKERS[who], "content": said.strip()}
        for who, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def _first(pair: Row) -> str:
    return _plain(pair["prompt"][0]["content"])


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _read(file: Path) -> Iterable[Row]:
    return map(json.loads, file.read_text(encoding="utf-8").splitlines())


def _write(file: Path, rows: Iterable[Row]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else root / "data")
