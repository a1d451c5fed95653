"""A model that another engine than transformers generates with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerBase

from bench.accounting import resources
from bench.data.tokenize import token_id
from bench.evaluation.lm_eval import GreedyLM
from bench.evaluation.vllm_server import Server

AT_ONCE = 1024
"""Prompts in one request: the server itself decides how many it works on at a time."""


class ServedLM(GreedyLM):
    """Generates what a server says. Its own model has a shape and no weights: lm-eval asks it for
    lengths alone.
    """

    def __init__(
        self, server: Server, folder: Path, tokenizer: PreTrainedTokenizerBase, trusted: bool
    ) -> None:
        shape = _shape(folder, trusted)
        super().__init__(pretrained=shape, tokenizer=tokenizer, batch_size=AT_ONCE)
        self._device = torch.device("cpu")  # of token ids, not of the model
        self._server = server
        self.engine = f"vllm {server.version}"

    def _model_generate(
        self, context: Tensor, max_length: int, stop: list[str], **settings: Any
    ) -> Tensor:
        seen = settings.pop("attention_mask").bool()
        prompts = [row[kept].tolist() for row, kept in zip(context, seen, strict=True)]
        width = context.shape[1]
        with resources.stopwatch(self._device) as watch:
            answers = self._server.answers(prompts, max_length - width, stop)
        out = context.new_full((len(prompts), max_length), token_id(self.tokenizer, "pad"))
        for row, answer in zip(out, answers, strict=True):
            row[width : width + len(answer)] = torch.tensor(answer)
        self._note(out[:, width:], watch.seconds, {"do_sample": False})
        return out


def _shape(folder: Path, trusted: bool) -> Any:
    """The model in a folder as its configuration says, with no weights."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trusted)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trusted)
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model.eval()
