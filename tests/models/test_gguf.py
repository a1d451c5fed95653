"""GGUF files by path: what is told of a bad one, and tensors that are llama.cpp's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec

from ..conftest import Bench, command, environment
from .capitals import CPU, needs_gguf, suite


def test_a_gguf_file_that_is_not_there_is_told(bench: Bench, tmp_path: Path) -> None:
    suite(tmp_path, "./nowhere.gguf")
    told = bench("plan", "suite.yaml")
    assert told.returncode == 2
    assert "line 2" in told.stderr
    assert "there is no GGUF file" in told.stderr


@needs_gguf
def test_a_gguf_file_that_is_none_is_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    suite(tmp_path, "broken.gguf")
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
    suite(tmp_path, "./small.gguf")
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
