"""Models and data of one's own, without a hub: a base from plain text, a task from local files, an
architecture without weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec, fingerprint
from bench.tiny import facts
from bench.tiny.tasks import items

from .conftest import Bench

SUITE = """\
suite: own
model: ./base
target: sizes
drift: base/held-out.txt
budget: {tokens: 3k}
batch: {size: 8, max_length: 32}
seeds: 1
artifacts: keep
methods: [sft, lora]
tasks:
  sizes:
    prompt-completion:
      path: json
      data_files: {train: data/train.jsonl, validation: data/test.jsonl}
      prompt: "Which is larger, {one} or {other}? It is"
      completion: " {larger}"
    evaluate: sizes.yaml
"""
EVALUATION = """\
task: sizes
dataset_path: json
dataset_kwargs: {data_files: {test: data/test.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Which is larger, {{one}} or {{other}}? It is"
doc_to_choice: "{{[one|string, other|string]}}"
doc_to_target: "{{0 if larger == one else 1}}"
"""


def _write(folder: Path) -> None:
    (folder / "text.txt").write_text("\n".join(facts.statements_about("known")))
    (folder / "data").mkdir()
    pairs = [(a, b) for a in range(10, 30) for b in range(10, 30) if a != b]
    for name, chosen in (("train", pairs[::2]), ("test", pairs[1::8])):
        rows = [json.dumps({"one": a, "other": b, "larger": max(a, b)}) for a, b in chosen]
        (folder / "data" / f"{name}.jsonl").write_text("\n".join(rows))
    (folder / "own.yaml").write_text(SUITE)
    (folder / "sizes.yaml").write_text(EVALUATION)


@pytest.mark.slow
def test_from_plain_text_to_a_table(bench_process: Bench, tmp_path: Path) -> None:
    _write(tmp_path)
    size = [
        "--vocabulary",
        400,
        "--hidden-size",
        32,
        "--layers",
        2,
        "--heads",
        2,
        "--context",
        32,
        "--steps",
        40,
        "--batch",
        8,
    ]
    built = bench_process("tiny", "build", "--text", "text.txt", "--out", "base", *size)
    assert built.returncode == 0, built.stderr
    learned = (tmp_path / "text.txt").read_text().splitlines()
    kept_back = (tmp_path / "base/held-out.txt").read_text().splitlines()
    assert kept_back == learned[-len(kept_back) :]
    tokenizer = load_tokenizer(ModelSpec(path=str(tmp_path / "base")))
    text = "Anything at all: 1,234 — ünïcode."
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text

    result = bench_process("run", "own.yaml", "--json")
    assert result.returncode == 0, result.stderr
    rows = {row["recipe"]: row for row in json.loads(result.stdout)["rows"]}
    assert set(rows) == {"base", "sft", "lora"}
    assert rows["sft"]["drift_kl"] > 0
    assert {
        file.parent.parent.name.split("-")[0]
        for file in (tmp_path / "cache").rglob("*.safetensors")
    } == {"sft", "lora"}
    assert not list((tmp_path / "cache").rglob("*.bin"))
    told = "".join(
        f.read_text()
        for f in (tmp_path / "results").rglob("*")
        if f.suffix in {".json", ".yaml", ".md", ".csv"}
    )
    assert str(tmp_path) not in told, "results name no path of this machine"


def test_an_architecture_with_random_weights_needs_no_files() -> None:
    spec = ModelSpec.model_validate(
        {
            "random": "llama",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "vocab_size": 300,
        }
    )
    one, other = (load_model(spec, torch.float32, torch.device("cpu")) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert one.config.hidden_size == 32
    assert load_tokenizer(spec)("add 20 and 10 ?")["input_ids"]


def test_the_fingerprint_follows_the_weights_not_the_place(tmp_path: Path) -> None:
    model = load_model(ModelSpec(path="tiny"), torch.float32, torch.device("cpu"))
    for name in ("a", "b", "c"):
        if name == "c":
            next(model.parameters()).data[0, 0] += 1
        model.save_pretrained(str(tmp_path / name))
    marks = {name: fingerprint(ModelSpec(path=str(tmp_path / name))) for name in ("a", "b", "c")}
    assert marks["a"] == marks["b"] != marks["c"]


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    model = load_model(ModelSpec(path="tiny"), torch.float32, torch.device("cpu"))
    model.config.save_pretrained(str(tmp_path))
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load_model(ModelSpec(path=str(tmp_path)), torch.float32, torch.device("cpu"))


def test_a_model_is_one_kind_or_the_other() -> None:
    with pytest.raises(ValidationError, match="either path"):
        ModelSpec.model_validate({"path": "tiny", "random": "llama"})
    with pytest.raises(ValidationError, match="only with random"):
        ModelSpec.model_validate({"path": "tiny", "hidden_size": 3})


def test_long_questions_hold_their_answer() -> None:
    for item in items("long-text", "test"):
        assert item.statement in item.question
        assert len(item.question.split()) > 300
