"""Adapters small enough for the tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from bench_peft.methods import METHODS
from torch import Tensor

from bench import Format, Session
from bench.accounting.budget import Budget
from bench.testing import tiny_session

STEPS = Budget("steps", 3)
SMALL: dict[str, dict[str, Any]] = {
    "adamss": {"r": 16, "num_subspaces": 2},
    "adamss-asa": {"r": 16, "num_subspaces": 2, "asa_target_subspaces": 20},
    "corda": {"init_rows": 8},
    "corda-kpm": {"init_rows": 8},
    "eva": {"init_rows": 32},
    "monteclora": {"num_samples": 2},
}
"""Where the defaults do not fit the tiny model, or take seconds on it."""


def made(name: str, **settings: Any) -> Any:
    return METHODS[name](**{**SMALL.get(name, {}), **settings})


def trained(
    name: str, folder: Path, budget: Budget = STEPS, **settings: Any
) -> tuple[Session, Any]:
    session = tiny_session(folder, budget)
    torch.manual_seed(0)
    return session, made(name, **settings).train(session).eval()


def logits(session: Session, model: Any) -> Tensor:
    rows = session.dataset(Format.PROMPT_COMPLETION)[:4]
    batch = session.encode(rows["prompt"], rows["completion"])
    del batch["labels"]
    with torch.no_grad(), session.unmetered():
        return model(**batch).logits
