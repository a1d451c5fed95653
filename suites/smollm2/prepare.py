"""Makes the files of data/ that no template can make: run `python suites/smollm2/prepare.py`
once, at the root of the repository.

words/mawps-train-unseen.jsonl, words/mawps-valid.jsonl
    MAWPS without the questions that a test file has too. Most of MultiArith is part of MAWPS. No
    question of the second file, which is for choosing, is in the first.
hh-rlhf-harmless-train.jsonl, hh-rlhf-harmless-unpaired.jsonl, hh-rlhf-harmless-judge.jsonl,
hh-rlhf-harmless-test.jsonl, hh-rlhf-harmless-valid.jsonl
    Dialogues of HH-RLHF as lists of turns, in the shape of TRL. The last two hold pairs of answers
    to a single question; the very last is for choosing. judge.py trains on the judge's pairs, which
    no method sees. No two of the files have a dialogue that begins with the same question.
choice/arc_easy-train-rest.jsonl, choice/arc_easy-valid.jsonl
    The training rows of ARC-Easy in two; the second file is for choosing.
chemprot/train-20.jsonl, chemprot/train-5.jsonl
    A fifth and a twentieth of ChemProt's training rows. The latter are among the former.
instructions-train.jsonl, instructions-valid.jsonl
    Rows of ARC-Easy, OpenBookQA, BoolQ, ChemProt and MAWPS as instructions, as many of each. Film
    reviews and questions of everyday life (PIQA, Social IQa) are not among them.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

TEST_PAIRS, CHOOSING_PAIRS = 300, 150
FOR_CHOOSING = 0.12  # of the word problems that no test asks, of ARC-Easy and of the instructions
LABELLED = (20, 5)  # percent of ChemProt's training rows
FOR_THE_JUDGE = 0.5  # of the other questions
SPEAKERS = {"Human": "user", "Assistant": "assistant"}
OF_EACH_TASK = 1200  # rows of the mixture
LONGEST = 400  # characters: with its answer such a row has about 100 tokens
LONGEST_PAIR = 300  # characters of a question with its longer answer: 112 tokens at most

Row = dict[str, Any]


def _exam(row: Row) -> tuple[str, str]:
    options = "".join(f"\n- {choice}" for choice in row["choices"])
    return f"{row['question']}\nOptions:{options}\nAnswer:", row["choices"][row["answer"]]


def _open_question(row: Row) -> tuple[str, str]:
    return f"Question: {row['question']}\nAnswer:", row["choices"][row["answer"]]


def _yes_or_no(row: Row) -> tuple[str, str]:
    asked = f"Answer the question with yes or no.\n{row['question'].capitalize()}\nAnswer:"
    return asked, row["choices"][row["answer"]]


def _relation(row: Row) -> tuple[str, str]:
    asked = f"{row['text']}\nThe relation between << >> and [[ ]] is:"
    return asked, row["label"].lower()


def _relation_asked(row: Row) -> tuple[str, str]:
    asked = f"How does the chemical act on the protein in this sentence?\n{row['text']}\nAnswer:"
    return asked, row["label"].lower()


def _number(row: Row) -> tuple[str, str]:
    return f"Question: {row['question']}\nAnswer:", str(row["answer"])


def _number_asked(row: Row) -> tuple[str, str]:
    asked = f"Solve the problem. Give the number alone.\n{row['question']}\nNumber:"
    return asked, str(row["answer"])


Template = Callable[[Row], tuple[str, str]]
"""From a row to a prompt and its completion."""
MIXTURE: dict[str, tuple[Template, Template]] = {
    "choice/arc_easy-train.jsonl": (_exam, _open_question),
    "choice/openbookqa-train.jsonl": (_exam, _open_question),
    "choice/boolq-train.jsonl": (_yes_or_no, _open_question),
    "chemprot/train.jsonl": (_relation, _relation_asked),
    "words/mawps-train-unseen.jsonl": (_number, _number_asked),
}
"""Two templates of each task, which take turns."""


def main(data: Path) -> None:
    """Make the files in a folder; one that is not there is told."""
    problems = [f"words/{name}.jsonl" for name in ("mawps-train", "mawps-test", "multiarith-test")]
    made = (
        (words, problems),
        (dialogues, ["hh-rlhf-harmless.jsonl"]),
        (exams, ["choice/arc_easy-train.jsonl"]),
        (labels, ["chemprot/train.jsonl"]),
        (instructions, list(MIXTURE)),
    )
    for make, needed in made:
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
    train, valid = _apart(kept, lambda row: _plain(row["question"]))
    _write(data / "words/mawps-valid.jsonl", valid)
    _write(data / "words/mawps-train-unseen.jsonl", train)
    print(
        f"MAWPS: {len(kept)} of {len(rows)} training rows are in no test;"
        f" {len(train)} to train on, {len(valid)} for choosing"
    )


def dialogues(data: Path) -> None:
    """HH-RLHF as turns. The test and what is for choosing are drawn by the hash of the question, so
    that the test stays the same when rows are added. To train on there are the short pairs, each
    with the last question alone: a small budget reads many of them.
    """
    pairs = [pair for row in _read(data / "hh-rlhf-harmless.jsonl") if (pair := _pair(row))]
    single = {_first(pair) for pair in pairs if len(pair["prompt"]) == 1}
    drawn = sorted(single, key=_share)[: TEST_PAIRS + CHOOSING_PAIRS]
    test, valid = set(drawn[:TEST_PAIRS]), set(drawn[TEST_PAIRS:])
    others = [pair for pair in pairs if _first(pair) not in test | valid]
    judge = [pair for pair in others if _share(_first(pair)) < FOR_THE_JUDGE]
    rest = [pair for pair in others if _share(_first(pair)) >= FOR_THE_JUDGE]
    train = [short for pair in rest if _length(short := _last_question(pair)) <= LONGEST_PAIR]
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
    for name, questions in (("test", test), ("valid", valid)):
        _write(
            data / f"hh-rlhf-harmless-{name}.jsonl",
            (
                {"question": pair["prompt"][0]["content"]}
                | {kind: pair[kind][0]["content"] for kind in ("chosen", "rejected")}
                for pair in pairs
                if _first(pair) in questions and len(pair["prompt"]) == 1
            ),
        )
    print(
        f"HH-RLHF: {len(train)} pairs to train on, {len(judge)} for the judge;"
        f" {len(test)} questions to test on, {len(valid)} for choosing"
    )


def exams(data: Path) -> None:
    """ARC-Easy with rows for choosing, drawn by the hash of the question."""
    rows = _read(data / "choice/arc_easy-train.jsonl")
    train, valid = _apart(rows, lambda row: row["question"])
    _write(data / "choice/arc_easy-valid.jsonl", valid)
    _write(data / "choice/arc_easy-train-rest.jsonl", train)
    print(f"ARC-Easy: {len(train)} to train on, {len(valid)} for choosing")


def labels(data: Path) -> None:
    """Few rows of ChemProt, drawn by the hash of their sentence."""
    rows = sorted(_read(data / "chemprot/train.jsonl"), key=lambda row: _share(row["text"]))
    for percent in LABELLED:
        drawn = rows[: len(rows) * percent // 100]
        _write(data / f"chemprot/train-{percent}.jsonl", drawn)
        print(f"ChemProt: {len(drawn)} of {len(rows)} training rows in train-{percent}.jsonl")


def instructions(data: Path) -> None:
    """As many rows of each task of the mixture, in an order that hides the task. Long rows are left
    out. A row is for choosing by its hash.
    """
    rows = []
    for file, templates in MIXTURE.items():
        found = [templates[i % 2](row) for i, row in enumerate(_read(data / file))]
        short = [pair for pair in found if sum(map(len, pair)) <= LONGEST]
        drawn = sorted(short, key=lambda pair: _share(pair[0]))[:OF_EACH_TASK]
        rows += [{"prompt": prompt, "completion": f" {answer}"} for prompt, answer in drawn]
    rows.sort(key=lambda row: _share(f"order {row['prompt']}"))
    train, valid = _apart(rows, lambda row: f"valid {row['prompt']}")
    _write(data / "instructions-train.jsonl", train)
    _write(data / "instructions-valid.jsonl", valid)
    print(f"instructions: {len(train)} to train on, {len(valid)} for choosing")


def _apart(rows: Iterable[Row], text_of: Callable[[Row], str]) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and those for choosing, which the hash of a text of theirs decides."""
    train, valid = [], []
    for row in rows:
        (valid if _share(text_of(row)) < FOR_CHOOSING else train).append(row)
    return train, valid


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


def _last_question(pair: Row) -> Row:
    """The pair without what was said before its last question."""
    return pair | {"prompt": pair["prompt"][-1:]}


def _length(pair: Row) -> int:
    """Characters of the prompt with the longer answer."""
    answers = (pair[kind][0]["content"] for kind in ("chosen", "rejected"))
    return sum(len(turn["content"]) for turn in pair["prompt"]) + max(map(len, answers))


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
