"""One side of one comparison, in a process of its own, which takes turns with the others."""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from clock import Clock
from setting import COMPLETION, GENERATIONS, LR, RANK, SETTINGS, VIRTUAL_TOKENS

PARAMETERS: dict[str, dict[str, Any]] = {
    "lora": {"r": RANK, "lora_alpha": 2 * RANK},
    "prompt-tuning": {"num_virtual_tokens": VIRTUAL_TOKENS},
    "grpo": {"beta": 0.0, "num_generations": GENERATIONS, "max_completion_length": COMPLETION},
}


def train(side: str, method: str, model: str, folder: Path, job: Any, channel: Connection) -> None:
    """Sends the tokens and seconds of every turn, then how many bytes training took at its peak,
    libraries apart. `job` is what a worker of the harness is told.
    """
    log = (folder / f"{side}.log").open("w", buffering=1)
    os.dup2(log.fileno(), sys.stdout.fileno())
    os.dup2(log.fileno(), sys.stderr.fileno())
    try:
        clock = Clock(channel, SETTINGS[model])
        peak = _harness(job, clock) if job else _other(side, method, model, folder, clock)
    except Exception:
        traceback.print_exc()
        raise
    channel.send(peak)


def job(side: str, method: str, model: str, folder: Path) -> Any:
    """What a worker of the harness would be told; None for a side that is not the harness."""
    if side not in ("harness", "grouped"):
        return None
    from bench.execution.worker import Job
    from bench.suite.file import parse
    from bench.suite.plan import make_plan

    suite = parse(_suite(method, model, folder, side == "grouped"))
    run = next(run for run in make_plan(suite, "cpu") if run.method)
    return Job(suite, run, "cpu", folder / side)


def write_order(job: Any, folder: Path) -> None:
    """Put the rows into ordered.jsonl as the harness reads them, so that all sides read the same in
    the same steps.
    """
    from bench.data.order import derive, order
    from bench.methods import registry

    data = job.suite.task("rows").load(registry.usable(job.run.method).formats[0], "train")
    lines = (folder / "rows.jsonl").read_text().splitlines()
    known = {json.loads(line)["prompt"]: line for line in lines}
    count = job.suite.budget.steps * job.suite.batch.size
    numbers = islice(order(len(data), derive(job.run.seed, "data/0")), int(count))
    text = "".join(known[data[number]["prompt"]] + "\n" for number in numbers)
    (folder / "ordered.jsonl").write_text(text)


def _harness(job: Any, clock: Clock) -> float:
    """The training stage of a run, as a worker does it."""
    import bench.execution.preload  # noqa: F401 - as a worker has it
    from bench.accounting import ledger
    from bench.execution.train import train
    from bench.execution.worker import quieten

    made: list[Any] = []

    class Seen(ledger.Ledger):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    ledger.Ledger = Seen  # what the stage counts in
    clock.reads(lambda: float(made[0].purposes["train"].tokens))
    quieten()
    libraries = _resident()
    return train(job, lambda fraction: None)["memory"]["peak_bytes"] - libraries


def _suite(method: str, model: str, folder: Path, grouped: bool) -> dict[str, Any]:
    setting, file = SETTINGS[model], str(folder / "rows.jsonl")
    source = {"path": "json", "data_files": {"train": file}, "prompt": "{prompt}"}
    return {
        "suite": "speed",
        "model": model,
        "target": "rows",
        "budget": {"steps": setting.steps},
        "batch": {
            "size": setting.batch,
            "max_length": setting.max_length,
            "group_by_length": grouped,
        },
        "dtype": "float32",
        "seeds": 1,
        "methods": [{method: {"lr": LR[method], **PARAMETERS.get(method, {})}}],
        "tasks": {
            "rows": {
                "prompt-completion": {**source, "completion": "{chosen}"},
                "preference": {**source, "chosen": "{chosen}", "rejected": "{rejected}"},
                "prompt-only": {**source, "answer": "{chosen}"},
                "evaluate": str(folder / "rows.yaml"),
            }
        },
    }


def _other(side: str, method: str, model: str, folder: Path, clock: Clock) -> float:
    """A plain loop, or a trainer of TRL."""
    import torch
    from transformers import set_seed

    from bench.models.load import load_model, load_tokenizer
    from bench.models.spec import ModelSpec

    if side == "bare":
        from bare import run
    else:
        from trainers import run
    torch.set_num_threads(1)
    set_seed(0)
    spec = ModelSpec(path=model)
    rows = [json.loads(line) for line in (folder / "ordered.jsonl").read_text().splitlines()]
    libraries = _resident()
    loaded = load_model(spec, torch.float32, torch.device("cpu"))
    tokenizer = load_tokenizer(spec)
    run(method, loaded, tokenizer, rows, SETTINGS[model], clock)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - libraries


def _resident() -> float:
    """Bytes of memory that this process holds just now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
