"""The conformance kit: what every method must do, tried on the tiny world. Behind `bench check`, and one import for an author's own tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .budget import Budget
from .session import Session

TASK = "tiny/smallest"
OLD_TASKS = ("tiny/people", "tiny/last")


def tiny_session(folder: Path, budget: Budget = Budget("steps", 4), task: str = TASK, **changes: Any) -> Session:
    """A session on the embedded model as the harness would make it, on the CPU with batches of 8; `changes` replace its fields."""
    import torch

    from .ledger import Ledger
    from .models import ModelSpec, load_tokenizer
    from .tiny.tasks import tiny_task

    folder.mkdir(parents=True, exist_ok=True)
    start = ModelSpec(path="tiny")
    given: dict[str, Any] = {
        "task": tiny_task(task),
        "tokenizer": load_tokenizer(start),
        "budget": budget,
        "seed": 5,
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "folder": folder,
        "batch_size": 8,
        "max_length": 64,
        "ledger": Ledger(),
        "start": start,
        "old": tuple(tiny_task(name) for name in OLD_TASKS),
        "_data_seed": 3,
    }
    return Session(**{**given, **changes})
