"""Models and data of one's own, without a hub: a base from plain text, a task from local files, an
architecture without weights.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec, fingerprint
from bench.tiny import facts
from bench.tiny.tasks import items

from ..conftest import Bench

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
        for file in (tmp_path / "cache").rglob("artifact/*.safetensors")
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


PACKAGE = """
from datasets import Dataset
from bench import Format, Task, UnknownTask

NAMES = ("acme/reviews", "acme/tickets")

def task(name):
    if name not in NAMES:
        raise UnknownTask(name, NAMES)
    def load(split):
        return Dataset.from_dict({"prompt": ["a b"] * 20, "completion": [" c"] * 20})
    return Task(name, {Format.PROMPT_COMPLETION: load}, "hellaswag", fingerprint="1")
"""
ACME = """
suite: acme
model: tiny
target: acme/reviews
budget: {tokens: 1k}
batch: {size: 4, max_length: 32}
methods: [sft, dpo]
"""


def _install(folder: Path, source: str) -> str:
    info = folder / "site/acme_tasks-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "site/acme_tasks.py").write_text(source)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-tasks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench.tasks]\nacme = acme_tasks:task\n")
    return f"{folder / 'site'}:{os.environ.get('PYTHONPATH', '')}"


def test_a_package_offers_tasks(bench_process: Bench, tmp_path: Path) -> None:
    path = _install(tmp_path, PACKAGE)
    (tmp_path / "acme.yaml").write_text(ACME)
    planned = bench_process("plan", "acme.yaml", "--json", PYTHONPATH=path)
    assert planned.returncode == 0, planned.stderr
    told = json.loads(planned.stdout)
    assert [run["recipe"] for run in told["runs"] if not run["seed"]] == ["base", "sft", "dpo"]
    assert told["obstacles"] == {"dpo": "acme/reviews has no preference data"}


@pytest.mark.parametrize(
    ("source", "name", "told"),
    [
        (PACKAGE, "acme/review", "no task acme/review; did you mean acme/reviews?"),
        ("import nowhere", "acme/reviews", "acme of acme-tasks 1.0 cannot be used: ModuleNotFound"),
        ("import sys; sys.exit()", "acme/reviews", "it called sys.exit when it was imported"),
        ("def task(name): return 1 / 0", "acme/reviews", "cannot give the task acme/reviews: Zero"),
        ("def task(name): return {}", "acme/reviews", "which is no bench.Task"),
    ],
)
def test_what_is_wrong_with_a_task_of_a_package_is_told_with_its_line(
    bench_process: Bench, tmp_path: Path, source: str, name: str, told: str
) -> None:
    path = _install(tmp_path, source)
    (tmp_path / "acme.yaml").write_text(ACME.replace("acme/reviews", name))
    result = bench_process("plan", "acme.yaml", PYTHONPATH=path)
    assert result.returncode == 2
    assert told in result.stderr and "line 4" in result.stderr
    assert "Traceback" not in result.stderr
