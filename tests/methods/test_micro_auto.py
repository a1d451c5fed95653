"""`batch: {micro: auto}` finds what fits the memory, and training does not show how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import set_seed
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from bench.accounting.budget import Budget
from bench.methods.fit import fewer
from bench.methods.registry import usable
from bench.methods.session import Session
from bench.testing import tiny_session
from tests.little import kind
from tests.methods.test_split import first_rows

ROOM = 4
"""Rows that fit the memory."""
SETTINGS: dict[str, dict[str, Any]] = {"lora": {"lora_dropout": 0.2}}


@contextmanager
def little_memory(room: int) -> Iterator[None]:
    """A model whose last layer needs much memory for each row that it learns from."""

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not isinstance(module, LlamaDecoderLayer) or not torch.is_grad_enabled():
            return
        if module.self_attn.layer_idx == 3 and inputs[0].shape[0] > room:
            raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")

    handle = register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


def trained(name: str, folder: Path, micro: Any) -> tuple[dict[str, Tensor], Session]:
    """The weights after three steps, and the session that they were made in."""
    session = tiny_session(folder, Budget("steps", 3), batch_size=16, micro=micro)
    session.task = first_rows(session.task)
    set_seed(session.seed)
    method = kind(name).model_validate(SETTINGS.get(name, {}))
    with little_memory(ROOM):
        model = method.train(session)
    session.close()
    return model.state_dict(), session


@pytest.mark.parametrize("name", ["sft", "lora", "ipo"])
def test_a_step_that_did_not_fit_leaves_no_trace(name: str, tmp_path: Path) -> None:
    found, auto = trained(name, tmp_path / "auto", "auto")
    # ipo passes both answers of a pair at once
    settled = ROOM // 2 if name == "ipo" else ROOM
    assert auto.rows_at_once == auto.log.micro == settled
    fixed, given = trained(name, tmp_path / "fixed", settled)
    assert auto.log.losses == given.log.losses
    assert all(torch.equal(found[key], fixed[key]) for key in fixed)
    assert auto.ledger.by_purpose() == given.ledger.by_purpose()
    for count in ("steps", "learning_passes", "backward_passes"):
        assert getattr(auto.ledger, count) == getattr(given.ledger, count)


@pytest.mark.slow
def test_a_trainer_settles_before_it_begins(tmp_path: Path) -> None:
    found, auto = trained("by-trainer", tmp_path / "auto", "auto")
    assert auto.log.micro == ROOM // 2
    fixed, given = trained("by-trainer", tmp_path / "fixed", ROOM // 2)
    assert all(torch.equal(found[key], fixed[key]) for key in fixed)
    assert auto.ledger.by_purpose() == given.ledger.by_purpose()


def test_what_never_fits_ends_as_out_of_memory(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 3), batch_size=4, micro="auto")
    with little_memory(0), pytest.raises(torch.OutOfMemoryError):
        usable("sft")().train(session)
    assert session.log.micro == 1
    session.close()


def test_other_errors_are_not_tried_again(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 3), batch_size=4, micro="auto")
    optimizer = session.optimizer(model := session.model(), 1e-3)

    def broken(_: Any) -> Tensor:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        session.learn(optimizer, {"input_ids": torch.zeros(4, 2)}, broken)
    assert session.log.micro is None and model is not None
    session.close()


def test_a_part_divides_the_batch() -> None:
    assert [fewer(12, 12), fewer(12, 6), fewer(12, 3), fewer(10, 5)] == [6, 3, 1, 2]
