"""Models held in 4 or 8 bits: what is added trains on top, is charged as on a model in full, and
comes back; what needs the weights themselves is a skipped row.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from bench.accounting import packed
from bench.accounting.budget import Budget
from bench.methods import registry
from bench.methods.artifact import own_loader, save_result
from bench.methods.recipe import Recipe, apply, obstacle
from bench.models.artifact import open_artifact
from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec
from bench.models.start import Start, load_start
from bench.testing import tiny_session

from ..conftest import Bench
from ..little import little, task_for
from ..runs import records, write_suite

CPU = torch.device("cpu")
NF4 = ModelSpec(path="tiny", quantize="nf4")
IDS = torch.arange(5, 25).reshape(1, -1)
USABLE = {
    name: plugin.method
    for name, plugin in registry.plugins().items()
    if plugin.method and not issubclass(plugin.method, Recipe)
}
ON_TOP = [name for name, method in USABLE.items() if not method.full_precision]
ALONE = [name for name, method in USABLE.items() if method.full_precision]
START_UNCHANGED = (
    "dora rslora olora lora-gaussian lora-plus lora-fa hira gralora miss miss-bat randlora oft boft"
    " shira ia3 vera fourierft ln-tuning alora o-lora"
).split()
"""Methods on whose untrained adapter the model says what it said before."""


def said(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


def trained(name: str, folder: Path, start: ModelSpec, **given: Any) -> tuple[Any, Any]:
    method = little(name, **given)
    session = tiny_session(folder, Budget("steps", 2), task_for(method), start=start)
    return session, apply(name, method, session)


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_TOP)
def test_what_trains_on_top_leaves_the_packed_weights_alone(name: str, tmp_path: Path) -> None:
    session, model = trained(name, tmp_path / "nf4", NF4)
    session.log.settle()
    start = load_model(NF4, torch.float32, CPU)
    before = [layer.weight for layer in packed.layers(start)]
    # layers may stand twice, under the names of several adapters
    held = {layer.weight.data_ptr(): layer.weight for layer in packed.layers(model)}
    assert len(held) == len(before)
    for weight, whole in zip(held.values(), before, strict=True):
        assert torch.equal(weight, whole)
    save_result(session, model, tmp_path / "saved", NF4)
    again = open_artifact(tmp_path / "saved", NF4, torch.float32, CPU, own_loader)
    with session.unmetered():
        torch.testing.assert_close(said(again), said(model), rtol=1e-5, atol=1e-4)
    whole, _ = trained(name, tmp_path / "whole", ModelSpec(path="tiny"))
    paid = [one.ledger.spent("flops") / one.ledger.spent("tokens") for one in (session, whole)]
    assert paid[0] == pytest.approx(paid[1], rel=0.03)


@pytest.mark.parametrize("name", [n for n in START_UNCHANGED if n in ON_TOP])
def test_an_untrained_adapter_says_what_the_quantized_model_says(name: str, tmp_path: Path) -> None:
    method = little(name, lr=1e-12)
    session = tiny_session(tmp_path, Budget("steps", 1), task_for(method), start=NF4)
    model = apply(name, method, session)
    with session.unmetered():
        told = said(model)
    torch.testing.assert_close(told, said(load_start(Start(NF4), torch.float32, CPU)))


@pytest.mark.parametrize("name", ALONE)
def test_what_needs_the_weights_themselves_says_so(name: str, tmp_path: Path) -> None:
    method = little(name)
    session = tiny_session(tmp_path, task="tiny/swap", start=NF4)
    reason = obstacle(method, session) or ""
    session.close()
    assert "quantized" in reason or "has no" in reason


@pytest.mark.parametrize("bits", ["nf4", "int8"])
def test_a_quantized_model_is_small_and_nearly_the_same(bits: str) -> None:
    spec = ModelSpec.model_validate({"path": "tiny", "quantize": bits})
    small, whole = (load_model(one, torch.float32, CPU) for one in (spec, ModelSpec(path="tiny")))
    layers = list(packed.layers(small))
    assert layers and not list(packed.layers(whole))
    bytes_of = {"nf4": 0.5, "int8": 1.0}[bits]
    for layer in layers:
        entries = layer.in_features * layer.out_features
        assert layer.weight.numel() * layer.weight.element_size() == bytes_of * entries
    assert packed.parameters(small) == whole.num_parameters()
    off = float((said(small) - said(whole)).abs().max() / said(whole).abs().max())
    assert 0 < off < {"nf4": 0.2, "int8": 0.05}[bits]


def test_nf4_is_the_rounding_that_the_paper_defines() -> None:
    """Golden: a layer of the model multiplies with what bitsandbytes itself makes of a weight."""
    functional = pytest.importorskip("bitsandbytes").functional
    layer = next(iter(packed.layers(load_model(NF4, torch.float32, CPU))))
    whole = load_model(ModelSpec(path="tiny"), torch.float32, CPU)
    weight = whole.get_submodule("model.layers.0.self_attn.q_proj").get_parameter("weight")
    fewer, state = functional.quantize_4bit(
        weight.detach(), quant_type="nf4", blocksize=64, compress_statistics=True
    )
    given = torch.eye(layer.in_features)
    expected = given @ functional.dequantize_4bit(fewer, state).T
    with torch.no_grad():
        torch.testing.assert_close(layer(given), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_suite_on_a_quantized_model(bench_process: Bench, tmp_path: Path) -> None:
    methods = (
        "  - sft\n  - lora\n  - dpo: {adapter: lora}\n  - grpo: {adapter: lora}\n"
        "  - chain: [lora, dpo]\n    as: lora+dpo\n"
    )
    write_suite(tmp_path, methods, "tokens: 3k", "1", "")
    suite = tmp_path / "suite.yaml"
    text = suite.read_text().replace("model: tiny", "model: {path: tiny, quantize: nf4}")
    suite.write_text(text)
    result = bench_process("run", "suite.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    found = records(tmp_path)
    told = {name: record["status"] for name, record in found.items()}
    assert told["base-s0"] == told["lora-s0"] == told["dpo-s0"] == told["grpo-s0"] == "ok"
    assert "it trains the weights of the model itself" in found["sft-s0"]["reason"]
    assert "cannot train on a quantized model" in found["lora+dpo-s0"]["reason"]
    plan = bench_process("plan", "suite.yaml")
    assert "sft will be skipped: cannot train on a quantized model" in plan.stdout
    (tmp_path / "int8").mkdir()
    write_suite(tmp_path / "int8", "  - lora\n", "tokens: 3k", "1", "")
    suite = tmp_path / "int8/suite.yaml"
    suite.write_text(text.replace("nf4", "int8").replace(methods, "  - lora\n"))
    result = bench_process("run", suite, "--results", "int8/results")
    assert result.returncode == 0, result.stdout + result.stderr
    keys = {r["comparison_key"] for r in records(tmp_path).values()}
    others = {r["comparison_key"] for r in records(tmp_path / "int8").values()}
    assert len(keys) == len(others) == 1 and keys != others


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model": "{random: llama, quantize: nf4}"}, "quantize goes only with path"),
        ({"model": "{path: tiny, quantize: int4}"}, "quantize"),
        ({"target": "[tiny/smallest, tiny/largest]"}, "quantize works with one target"),
        (
            {"model": "{path: tiny, quantize: int8}", "memory": "1GiB"},
            "memory: works without int8",
        ),
    ],
)
def test_what_does_not_go_together_is_told_before_training(
    change: dict[str, str], what: str, bench: Bench, tmp_path: Path
) -> None:
    keys = {
        "suite": "q",
        "model": "{path: tiny, quantize: nf4}",
        "target": "tiny/smallest",
        "retain": "[tiny/people]",
        "budget": "{steps: 2}",
        "seeds": "1",
        "methods": "[lora]",
    }
    lines = "".join(f"{key}: {value}\n" for key, value in (keys | change).items())
    (tmp_path / "suite.yaml").write_text(lines)
    result = bench("plan", "suite.yaml")
    assert result.returncode == 2
    assert what in result.stderr and "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_large_quantized_model_is_planned_without_its_weights(
    bench: Bench, tmp_path: Path
) -> None:
    """One layer, in full, stands for all in the forecast of time; parameters are those of all."""
    sizes: dict[str, Any] = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 25,
    }
    LlamaConfig(vocab_size=1024, **sizes).save_pretrained(tmp_path / "large")
    load_tokenizer(ModelSpec(path="tiny")).save_pretrained(tmp_path / "large")
    (tmp_path / "suite.yaml").write_text(
        "suite: q\nmodel: {path: ./large, quantize: nf4}\ntarget: tiny/smallest\n"
        "budget: {steps: 2}\nbatch: {size: 2, max_length: 32}\nseeds: 1\nmethods: [lora, sft]\n"
    )
    result = bench("plan", "suite.yaml", "--json")
    assert result.returncode == 0, result.stderr
    layer = 4 * 1024**2 + 3 * 1024 * 4096 + 2 * 1024
    assert (
        json.loads(result.stdout)["estimate"]["parameters"] == 25 * layer + 2 * 1024 * 1024 + 1024
    )


@pytest.mark.parametrize("bits", ["nf4", "int8"])
def test_a_policy_and_its_reference_say_what_the_quantized_model_says(
    bits: Any, tmp_path: Path
) -> None:
    start = ModelSpec(path="tiny", quantize=bits)
    method = little("ipo", adapter="lora")
    session = tiny_session(tmp_path, Budget("steps", 1), task_for(method), start=start)
    session.adapter = method.adapter
    policy, reference = session.model(), session.reference()
    with session.unmetered():
        fresh = said(load_model(start, torch.float32, CPU))
        for model in (policy, reference, policy, reference):  # the first pass settles something
            torch.testing.assert_close(said(model), fresh, rtol=0, atol=1e-5)


def test_a_model_in_full_has_the_id_that_it_had(tmp_path: Path) -> None:
    """The key came later and must not change what older records are known by."""
    assert "quantize" not in ModelSpec(path="tiny").model_dump()
    assert '"quantize"' not in ModelSpec(path="tiny").model_dump_json()
    assert '"quantize":"nf4"' in NF4.model_dump_json()
