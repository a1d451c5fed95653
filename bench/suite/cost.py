"""What a suite will cost, before anything is trained."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.data.chat import opened
from bench.data.formats import Format
from bench.data.tokenize import encode
from bench.models.load import load_tokenizer
from bench.suite.schema import Suite

SAMPLE = 256  # rows from which the usual length is estimated
BACKWARD = 3.0  # forward and both backward passes, in forwards
EFFICIENCY = (
    0.35  # share of a matrix product's speed that training of a whole model usually reaches
)


@dataclass(frozen=True)
class Estimate:
    """Per run, for a method that trains all parameters once on each batch; methods with more passes
    do fewer steps.
    """

    parameters: int
    tokens_per_batch: float
    tokens: float
    flops: float
    seconds: float
    runs: float
    """How many of these there are; a trial on half of the budget is half a run."""
    at_once: int

    @property
    def total_seconds(self) -> float:
        return self.seconds * self.runs / self.at_once


def estimate(suite: Suite, runs: float, devices: list[str]) -> Estimate:
    """Tokens, FLOPs and seconds of one run, from the model's size, a sample of the data and a
    measured matrix product.
    """
    import torch

    parameters = _parameters(suite)
    tokens_per_row = _tokens_per_row(suite)
    per_token = 2.0 * parameters * BACKWARD
    speed = _flops_per_second(torch.device(devices[0])) * EFFICIENCY
    budget = suite.budget.budget()
    tokens = {
        "tokens": budget.amount,
        "samples": budget.amount * tokens_per_row,
        "steps": budget.amount * tokens_per_row * suite.batch.size,
        "flops": budget.amount / per_token,
        "seconds": budget.amount * speed / per_token,
    }[budget.currency]
    seconds = budget.amount if budget.currency == "seconds" else tokens * per_token / speed
    return Estimate(
        parameters,
        tokens_per_row * suite.batch.size,
        tokens,
        tokens * per_token,
        seconds,
        runs,
        len(devices),
    )


def _parameters(suite: Suite) -> int:
    """The model's size, built without weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    spec = suite.start()
    if spec.random is None:
        config = AutoConfig.from_pretrained(
            spec.location,
            revision=spec.revision or "main",
            trust_remote_code=spec.trust_remote_code,
        )
    else:
        config = AutoConfig.for_model(spec.random, **(spec.model_extra or {}))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=spec.trust_remote_code)
    return sum(p.numel() for p in model.parameters())


def _tokens_per_row(suite: Suite) -> float:
    task = suite.task(suite.target[0])
    format = next(
        (f for f in (Format.PROMPT_COMPLETION, Format.LANGUAGE_MODELING) if f in task.formats), None
    )
    if format is None:
        return float(suite.batch.max_length)
    data = task.load(format, "train")
    rows = opened(data[: min(SAMPLE, len(data))])
    encoded = encode(rows, format, load_tokenizer(suite.start()), suite.batch.max_length)
    return sum(len(ids) for ids, _ in encoded) / len(encoded)


def _flops_per_second(device: object) -> float:
    """Speed of one square matrix product on one thread."""
    import torch

    torch.set_num_threads(1)
    size = 512 if str(device) == "cpu" else 4096
    a = torch.randn(size, size, device=str(device))
    float((a @ a).sum())
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 0.2:
        float((a @ a).sum())
        count += 1
    return count * 2.0 * size**3 / (time.perf_counter() - started)
