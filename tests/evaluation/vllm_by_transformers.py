"""What of `vllm serve` the harness uses, answered by transformers: vLLM pins other versions of
libraries and cannot be installed beside the harness. The same tests run with vLLM itself where its
command is on the PATH.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from http.server import BaseHTTPRequestHandler
from socketserver import UnixStreamServer
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)
parser = ArgumentParser()
parser.add_argument("verb", choices=["serve"])
parser.add_argument("folder")
for name in ("--served-model-name", "--dtype", "--max-model-len", "--uds"):
    parser.add_argument(name, required=True)
for name in ("--enforce-eager", "--disable-uvicorn-access-log"):
    parser.add_argument(name, action="store_true", required=True)
given = parser.parse_args()
model: Any = AutoModelForCausalLM.from_pretrained(
    given.folder, dtype=given.dtype, use_safetensors=True
)
tokenizer = AutoTokenizer.from_pretrained(given.folder)


def answer(prompt: list[int], asked: dict[str, Any]) -> list[int]:
    said = model.generate(
        torch.tensor([prompt]),
        max_new_tokens=asked["max_tokens"],
        do_sample=asked["temperature"] > 0,
    )[0, len(prompt) :].tolist()
    for count in range(len(said)):
        text = tokenizer.decode(said[:count], skip_special_tokens=True)
        if any(stop in text for stop in asked["stop"]):
            return said[:count]
    return said


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._say({"/health": None, "/version": {"version": "0.0"}}[self.path])

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/completions" and asked["model"] == given.served_model_name
        answers = [answer(prompt, asked) for prompt in asked["prompt"]]
        choices = [{"index": i, "token_ids": ids} for i, ids in enumerate(answers)]
        self._say({"choices": choices[::-1]})

    def _say(self, content: Any) -> None:
        body = json.dumps(content).encode() if content is not None else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, format: str, *args: Any) -> None:
        pass


print("serving", file=sys.stderr)
UnixStreamServer(given.uds, Handler).serve_forever()
