"""What can be known of GPUs without one: which of them a run sees, and what a suite may ask for."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.accounting import gpu
from bench.accounting.budget import Budget
from bench.accounting.flops import Probe
from bench.accounting.resources import Held, Memory, ran_out_of_memory
from bench.execution.executors.local import slots
from bench.execution.worker import Job, on_its_own_gpu
from bench.models.load import load_model, load_scorer
from bench.models.spec import ModelSpec
from bench.suite import file as suite_file
from bench.suite.plan import make_plan
from bench.testing import tiny_session

from ..conftest import Bench

SUITE: dict[str, Any] = {
    "suite": "small",
    "model": "tiny",
    "target": "tiny/smallest",
    "budget": {"steps": 2},
    "seeds": 1,
    "methods": ["sft"],
}


@pytest.mark.parametrize(
    ("device", "before", "seen"),
    [
        ("cuda:0", None, "0"),
        ("cuda:3", None, "3"),
        ("cuda:1", "4,5", "5"),
        ("cuda:1", "GPU-aaa, MIG-bbb", "MIG-bbb"),
        ("cuda", "", "0"),
    ],
)
def test_a_worker_sees_its_own_gpu_alone(
    device: str, before: str | None, seen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if before is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    suite = suite_file.parse(SUITE)
    job = Job(suite, make_plan(suite, "cpu")[0], device, tmp_path)
    assert on_its_own_gpu(job) == replace(job, device="cuda:0")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_a_worker_on_the_cpu_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6")
    suite = suite_file.parse(SUITE)
    job = Job(suite, make_plan(suite, "cpu")[0], "cpu", tmp_path)
    assert on_its_own_gpu(job) is job
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"


@pytest.mark.slow
def test_the_fork_server_leaves_cuda_alone() -> None:
    """A process that has used CUDA cannot fork others that use it."""
    code = """
import torch
calls = []
torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: 2
torch.cuda._lazy_init = lambda: calls.append("_lazy_init")
import bench.execution.preload
assert not calls, calls
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165),
    ],
)
def test_the_peak_of_known_gpus(name: str, teraflops: float) -> None:
    assert gpu.peak_flops(name) == teraflops * 1e12


@pytest.mark.parametrize(
    ("jobs", "memory", "expected"),
    [
        (None, 10e9, [0, 1]),
        (1, 10e9, [0]),
        (5, None, [0, 1]),
        (5, 10e9, [0, 1, 0, 1, 0]),  # 5 fit on one of them: 3 and 2 are fewer
        (9, 24e9, [0, 1, 0, 1]),  # the smaller one holds 2
        (9, 70e9, [0, 1]),
    ],
)
def test_small_runs_share_a_gpu_as_far_as_they_fit(
    jobs: int | None, memory: float | None, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"cuda:0": 80e9, "cuda:1": 60e9}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(sizes))
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda name: SimpleNamespace(total_memory=sizes[name]),
    )
    assert slots(jobs, memory=memory) == [[f"cuda:{number}"] for number in expected]


@pytest.mark.parametrize("name", ["Tesla V100-SXM2-16GB", "NVIDIA A10G", "some CPU"])
def test_no_peak_is_guessed(name: str) -> None:
    assert gpu.peak_flops(name) is None


def test_nvml_tells_of_the_whole_device(monkeypatch: pytest.MonkeyPatch) -> None:
    energy = iter([5000, 9000])
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda _: next(energy),
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=70),
        nvmlDeviceGetComputeRunningProcesses=lambda _: [1, 2],
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1-2"))
    for library, expected in (
        (nvml, gpu.Device("GPU-1-2", used_bytes=70, energy_joules=4.0, other_processes=1)),
        (SimpleNamespace(), gpu.Device("GPU-1-2")),
        (None, gpu.Device("GPU-1-2")),
    ):
        monkeypatch.setitem(sys.modules, "pynvml", library)
        with gpu.watched(torch.device("cuda")) as seen:
            pass
        assert seen == expected
    with gpu.watched(torch.device("cpu")) as seen:
        assert seen is None


def test_what_a_pass_leaves_is_the_rest_of_the_peak() -> None:
    on_gpu = Memory(peak_bytes=100, reserved_bytes=120, kind="allocated by torch")
    assert on_gpu.parts(Held(30, 10, 20))["activations_bytes"] == 40
    assert on_gpu.parts(Held())["weights_bytes"] is None
    on_cpu = Memory(peak_bytes=100).parts(Held(30, 10, 20))
    assert (on_cpu["optimizer_bytes"], on_cpu["activations_bytes"]) == (20, None)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("expected m1 and m2 to have the same dtype"), False),
    ],
)
def test_signs_that_memory_ran_out(error: BaseException, is_one: bool) -> None:
    assert ran_out_of_memory(error) is is_one


def test_no_probe_stays_behind_a_pass_that_raises(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 2))
    model = session.model()

    def broken(*_: Any) -> None:
        raise ValueError("broken")

    handle = model.model.layers[1].register_forward_pre_hook(broken)
    ids = torch.ones(2, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="broken"):
        model(input_ids=ids)
    modes = torch.overrides._get_current_function_mode_stack()
    assert not any(isinstance(mode, Probe) for mode in modes)
    handle.remove()
    model(input_ids=ids)
    session.close()
    assert session.ledger.spent("flops") > 0


@pytest.mark.parametrize("name", [None, "sdpa", "eager"])
def test_attention_reaches_every_model(name: str | None) -> None:
    suite = suite_file.parse({**SUITE, **({"attention": name} if name else {})})
    random = {"random": "llama", "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 9}
    specs = (suite.start(), ModelSpec.model_validate(random).in_suite(attention=name))
    for spec in specs:
        for load in (load_model, load_scorer):
            model = load(spec, torch.float32, torch.device("cpu"))
            assert model.config._attn_implementation == (name or "sdpa")


def test_attention_counts_only_where_it_is_set() -> None:
    runs = {
        name: make_plan(suite_file.parse({**SUITE, **more}), "cpu")[1]
        for name, more in (("default", {}), ("eager", {"attention": "eager"}))
    }
    assert runs["default"].setting != runs["eager"].setting
    assert runs["default"].id != runs["eager"].id
    auto = suite_file.parse({**SUITE, "batch": {"micro": "auto"}})
    assert make_plan(auto, "cpu")[1].id == runs["default"].id


def test_plan_tells_that_an_implementation_is_missing(bench: Bench, tmp_path: Path) -> None:
    text = (
        "suite: small\nmodel: tiny\ntarget: tiny/smallest\nbudget: {steps: 2}\n"
        "attention: flash_attention_2\nmethods: [sft]\n"
    )
    (tmp_path / "suite.yaml").write_text(text)
    told = bench("plan", "suite.yaml")
    assert told.returncode == 2
    assert "suite.yaml:5" in told.stderr or "line 5" in told.stderr
    assert "flash-attn" in told.stderr and "sdpa" in told.stderr


@pytest.mark.parametrize("micro", ["most", 0, 5])
def test_micro_is_a_part_of_the_batch_or_auto(micro: Any, bench: Bench, tmp_path: Path) -> None:
    text = (
        "suite: small\nmodel: tiny\ntarget: tiny/smallest\nbudget: {steps: 2}\n"
        f"batch: {{size: 12, micro: {micro}}}\nmethods: [sft]\n"
    )
    (tmp_path / "suite.yaml").write_text(text)
    told = bench("plan", "suite.yaml")
    assert told.returncode == 2
    assert "has 1 mistake" in told.stderr and "micro" in told.stderr
