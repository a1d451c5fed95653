"""The memory that training takes, from shapes alone, and `memory:` as a limit."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.profiler import ProfilerActivity, profile

from bench.accounting.budget import Budget
from bench.accounting.shapes import OutOfTime, without_numbers
from bench.methods.recipe import apply
from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec
from bench.models.start import Start
from bench.suite.obstacles import shape as only_shape
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
CPU = torch.device("cpu")


def trained(name: str, given: dict[str, Any], folder: Path, **changes: Any) -> None:
    method = little(name, **given)
    start = Start(ModelSpec.model_validate(SHAPE))
    made = {"start": start, "batch_size": 32} | changes
    session = tiny_session(folder, Budget("steps", 2), task_for(method), **made)
    apply(name, method, session)
    session.close()
    assert session.ledger.steps == 2


def allocated(name: str, given: dict[str, Any], folder: Path, **changes: Any) -> int:
    """The most bytes that PyTorch had allocated at once, as its own profiler saw it."""
    gc.collect()  # what an earlier test left would count below nothing when it goes
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        trained(name, given, folder, **changes)
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
        ("by-trainer", {}),
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sft", "by-trainer"])
def test_shapes_tell_what_a_state_in_8_bits_takes(name: str, tmp_path: Path) -> None:
    found = {}
    for optim in ("adamw", "adamw_8bit"):
        changes = {"optim": optim, "batch_size": 8}
        most = allocated(name, {}, tmp_path / f"real-{optim}", **changes)
        with without_numbers(300) as pretended:
            trained(name, {}, tmp_path / f"pretended-{optim}", **changes)
        assert pretended.peak == pytest.approx(most, rel=0.1)
        found[optim] = pretended.peak
    assert found["adamw_8bit"] < found["adamw"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of that shape in a folder."""
    folder = tmp_path_factory.mktemp("saved")
    load_model(ModelSpec.model_validate(SHAPE), torch.float32, CPU).save_pretrained(folder)
    load_tokenizer(ModelSpec(path="tiny")).save_pretrained(folder)
    return folder


def held(model: Any) -> dict[str, list[Any]]:
    """Shape and type of every tensor that a model holds, those behind packed weights too."""
    found: dict[str, list[Any]] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found[name] = [tuple(tensor.shape), tensor.dtype, tensor.requires_grad]
        if (state := getattr(tensor, "quant_state", None)) is not None:
            parts = (state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code)
            found[name] += [(tuple(part.shape), part.dtype) for part in parts]
    return found


def test_a_shape_in_four_bits_holds_what_a_model_in_four_bits_holds(saved: Path) -> None:
    real = ModelSpec(path=str(saved), quantize="nf4")
    with without_numbers(300) as pretended:
        shape = held(load_model(only_shape(real), torch.bfloat16, CPU))
    assert shape == held(load_model(real, torch.bfloat16, CPU))
    whole = load_model(ModelSpec(path=str(saved)), torch.bfloat16, CPU)
    assert 0 < pretended.peak < sum(p.nbytes for p in whole.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "given"), [("lora", {}), ("dpo", {"adapter": "lora"})])
def test_shapes_tell_what_training_on_four_bits_takes(
    name: str, given: dict[str, Any], saved: Path, tmp_path: Path
) -> None:
    """Rows enough that what bitsandbytes takes to unpack a layer on a CPU does not count."""
    real = ModelSpec(path=str(saved), quantize="nf4")
    most = allocated(name, given, tmp_path / "real", start=Start(real), batch_size=256)
    with without_numbers(300) as pretended:
        start = Start(only_shape(real))
        trained(name, given, tmp_path / "pretended", start=start, batch_size=256)
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
def test_a_plan_tells_what_a_packed_model_needs(
    bench_process: Bench, saved: Path, tmp_path: Path
) -> None:
    found = {}
    for bits in (None, "nf4", "int8"):
        model = {"path": str(saved)} | ({"quantize": bits} if bits else {})
        plans = plan(bench_process, tmp_path, ["lora", "ia3"], model=model, optimizer="adamw_8bit")
        found[bits] = plans["lora"] and plans["lora"][0]["bytes"]
    assert found["nf4"] < found[None]
    assert found["int8"] is None, "not known"


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
