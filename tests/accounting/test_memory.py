"""The memory that training takes, from shapes alone, and `memory:` as a limit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.profiler import ProfilerActivity, profile

from bench.accounting.budget import Budget
from bench.accounting.shapes import OutOfTime, without_numbers
from bench.methods.recipe import apply
from bench.models.spec import ModelSpec
from bench.models.start import Start
from bench.testing import tiny_session

from ..conftest import Bench
from ..little import little, task_for

SHAPE = {
    "random": "llama",
    "tokenizer": "tiny",
    "vocab_size": 1024,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
SUITE = {
    "suite": "small",
    "model": "tiny",
    "target": "tiny/smallest",
    "retain": ["tiny/add"],
    "budget": {"tokens": "20k"},
    "batch": {"size": 64, "max_length": 64},
    "seeds": 1,
}
MIB = 2**20


def trained(name: str, given: dict[str, Any], folder: Path) -> None:
    method = little(name, **given)
    start = Start(ModelSpec.model_validate(SHAPE))
    session = tiny_session(folder, Budget("steps", 2), task_for(method), start=start, batch_size=32)
    apply(name, method, session)
    session.close()
    assert session.ledger.steps == 2


def allocated(name: str, given: dict[str, Any], folder: Path) -> int:
    """The most bytes that PyTorch had allocated at once, as its own profiler saw it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        trained(name, given, folder)
    results = seen.profiler
    assert results is not None
    assert results.kineto_results is not None
    events: list[Any] = [e for e in results.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("sft", {}),
        ("lora", {}),
        ("dora", {}),
        ("prompt-tuning", {}),
        ("lisa", {"activated_layers": 2}),
        ("ipo", {}),
        ("ipo", {"adapter": "lora"}),
        ("dpo", {}),
        ("replay", {}),
        ("grpo", {}),
        ("ppo", {}),
    ],
)
def test_shapes_tell_what_is_allocated(name: str, given: dict[str, Any], tmp_path: Path) -> None:
    most = allocated(name, given, tmp_path / "real")
    with without_numbers(300) as pretended:
        trained(name, given, tmp_path / "pretended")
    assert pretended.peak == pytest.approx(most, rel=0.1)


def test_a_look_ends_in_time(tmp_path: Path) -> None:
    with pytest.raises(OutOfTime), without_numbers(0.0):
        trained("sft", {}, tmp_path)


def plan(bench: Bench, folder: Path, methods: list[Any], **changes: Any) -> dict[str, Any]:
    (folder / "suite.yaml").write_text(yaml.safe_dump(SUITE | changes | {"methods": methods}))
    result = bench("plan", "suite.yaml", "--memory", "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["memory"]


@pytest.mark.slow
def test_a_plan_tells_what_methods_need(bench_process: Bench, tmp_path: Path) -> None:
    methods = ["sft", "lora", {"chain": ["lora", "ipo"]}, "ipo", {"merge": ["sft", "lora"]}]
    found = plan(bench_process, tmp_path, methods)
    needed = {label: one[0]["bytes"] for label, one in found.items()}
    assert all(one[0]["complete"] and one[0]["micro"] == 64 for one in found.values())
    assert needed["lora"] < needed["sft"] < needed["ipo"] == needed["lora+ipo"]
    assert needed["merge(sft, lora)"] == needed["sft"]
    # weights, gradients and two moments of 0.89M float32 parameters are in it
    assert needed["sft"] > 4 * 4 * 0.89e6


@pytest.mark.slow
def test_what_does_not_fit_is_a_row_that_says_by_how_much(
    bench_process: Bench, tmp_path: Path
) -> None:
    methods = ["lora", "sft", "ipo"]
    room = plan(bench_process, tmp_path, methods)
    least, most = (room[name][0]["bytes"] for name in ("lora", "ipo"))
    limit = f"{(room['sft'][0]['bytes'] + most) / 2 / MIB:.3f}MiB"
    assert least < most
    (tmp_path / "suite.yaml").write_text(
        yaml.safe_dump(SUITE | {"memory": limit, "methods": methods})
    )
    result = bench_process("run", "suite.yaml", "--results", "results", "--jobs", "1")
    assert result.returncode == 1, result.stderr
    records = (tmp_path / "results" / "small" / "records").glob("*.json")
    by_recipe = {one["recipe"]: one for one in map(json.loads, map(Path.read_text, records))}
    assert by_recipe["lora"]["status"] == by_recipe["sft"]["status"] == "ok"
    assert by_recipe["ipo"]["status"] == "out of memory"
    assert by_recipe["ipo"]["train"] is None
    assert "batch: {micro: 32} fits" in by_recipe["ipo"]["reason"]
    # with what it says, the row is there
    changed = SUITE | {"memory": limit, "methods": ["ipo"]}
    for micro in (32, "auto"):
        changed["batch"] = {"size": 64, "max_length": 64, "micro": micro}
        (tmp_path / "suite.yaml").write_text(yaml.safe_dump(changed))
        where = f"results-{micro}"
        result = bench_process("run", "suite.yaml", "--results", where, "--jobs", "1")
        assert result.returncode == 0, result.stdout
        records = [json.loads(f.read_text()) for f in tmp_path.glob(f"{where}/small/records/ipo*")]
        assert [one["batch"]["micro"] for one in records] == [32]


@pytest.mark.parametrize("memory", ["24", "24GB", "much", -1])
def test_a_limit_needs_its_unit(memory: Any, bench: Bench, tmp_path: Path) -> None:
    content = yaml.safe_dump(SUITE | {"memory": memory, "methods": ["sft"]})
    (tmp_path / "suite.yaml").write_text(content)
    result = bench("plan", "suite.yaml")
    assert result.returncode == 2
    assert "such as 24GiB" in result.stderr
