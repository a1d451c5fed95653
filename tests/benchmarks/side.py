"""One side of one comparison, in a process of its own: prints tokens/s and peak memory as JSON.

python tests/benchmarks/side.py harness|grouped|bare|trl METHOD MODEL FOLDER
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from setting import COMPLETION, GENERATIONS, LR, RANK, SETTINGS, VIRTUAL_TOKENS

PARAMETERS: dict[str, dict[str, Any]] = {
    "lora": {"r": RANK, "lora_alpha": 2 * RANK},
    "prompt-tuning": {"num_virtual_tokens": VIRTUAL_TOKENS},
    "grpo": {"beta": 0.0, "num_generations": GENERATIONS, "max_completion_length": COMPLETION},
}


def harness(method: str, model: str, folder: Path, grouped: bool) -> dict[str, float]:
    """A run of the harness, and what its record says."""
    import bench
    from bench.records.store import Store

    setting, file = SETTINGS[model], str(folder / "rows.jsonl")
    source = {"path": "json", "data_files": {"train": file}, "prompt": "{prompt}"}
    suite = {
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
    with tempfile.TemporaryDirectory() as results:
        bench.run(suite, results, jobs=1)
        records = Store(Path(results) / "speed").all()
    record = next(record for record in records if record.method)
    assert record.train and record.train.tokens_per_second and record.train.memory, record.reason
    return {
        "tokens_per_second": record.train.tokens_per_second,
        "peak": record.train.memory.peak_bytes or 0,
    }


def other(side: str, method: str, model: str, folder: Path) -> dict[str, float]:
    """A plain loop, or a trainer of TRL."""
    import torch
    from transformers import set_seed

    from bench.models.load import load_model, load_tokenizer
    from bench.models.spec import ModelSpec

    torch.set_num_threads(1)
    set_seed(0)
    spec = ModelSpec(path=model)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    loaded = load_model(spec, torch.float32, torch.device("cpu"))
    tokenizer = load_tokenizer(spec)
    if side == "bare":
        from bare import run
    else:
        from trainers import run
    clock = run(method, loaded, tokenizer, rows, SETTINGS[model])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"tokens_per_second": clock.tokens_per_second, "peak": peak}


if __name__ == "__main__":
    side, method, model, place = sys.argv[1:]
    if side in ("harness", "grouped"):
        found = harness(method, model, Path(place), side == "grouped")
    else:
        found = other(side, method, model, Path(place))
    print(json.dumps(found))
