"""A trainer of TRL sees the rows of a loop of one's own, in the same order and batches, in every
epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import Format, token_losses
from bench.accounting.budget import Budget
from bench.data.formats import Format as DataFormat
from bench.data.sources import Split
from bench.data.tasks import Task
from bench.methods.session import Session
from bench.testing import tiny_session
from bench.tiny.tasks import tiny_task

LR = 1e-3


def _short(count: int) -> Task:
    """The first rows of a task alone."""
    task = tiny_task("tiny/smallest")

    def first(load: Callable[[Split], Any]) -> Callable[[Split], Any]:
        return lambda split: load(split).select(range(count))

    loaders = {DataFormat(name): first(load) for name, load in task.loaders.items()}
    return replace(task, loaders=loaders)


def _session(folder: Path, rows: int, steps: int, **changes: Any) -> Session:
    session = tiny_session(folder, Budget("steps", steps), **changes)
    session.task = _short(rows)
    return session


def _watched(session: Session, seen: list[list[str]]) -> Any:
    """A model that writes down the texts of each pass."""
    model = session.model()
    said = session.tokenizer

    def look(_: Any, args: Any, kwargs: Any) -> None:
        texts = said.batch_decode(kwargs["input_ids"], skip_special_tokens=True)
        seen.append([" ".join(text.split()) for text in texts])

    model.register_forward_pre_hook(look, with_kwargs=True)
    return model


def _by_trl(session: Session) -> list[list[str]]:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    seen: list[list[str]] = []
    model = _watched(session, seen)
    SFTTrainer(
        model,
        train_dataset=session.dataset(Format.PROMPT_COMPLETION),
        **session.trainer_kwargs(SFTConfig, learning_rate=LR, max_length=64),
    ).train()
    session.close()
    return seen


def _by_loop(session: Session) -> list[list[str]]:
    seen: list[list[str]] = []
    model = _watched(session, seen)
    optimizer = session.optimizer(model, LR)
    for batch in session.batches(Format.PROMPT_COMPLETION):
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    session.close()
    return seen


SPLITS: dict[str, tuple[int, dict[str, Any]]] = {
    "epochs that end within a batch": (21, {}),
    "epochs that end with a batch": (24, {}),
    "epochs that end within a step of two parts": (19, {"micro": 4}),
    "epochs that end within a step of four parts": (21, {"micro": 2}),
    "fewer rows than a batch": (5, {}),
    "rows of similar length": (21, {"group_by_length": True}),
}


@pytest.mark.parametrize("case", SPLITS)
def test_a_trainer_and_a_loop_see_the_same_rows_over_epochs(case: str, tmp_path: Path) -> None:
    rows, changes = SPLITS[case]
    loop = _session(tmp_path / "loop", rows, 12, **changes)
    expected = _by_loop(loop)
    trainer = _session(tmp_path / "trainer", rows, 12, **changes)
    seen = _by_trl(trainer)
    assert seen == expected
    assert len(list(chain(*seen))) == 12 * 8 > 3 * rows, "several epochs"
    assert trainer.log.losses == pytest.approx(loop.log.losses, rel=1e-3)
    first, second = ([text for batch in seen for text in batch][i : i + rows] for i in (0, rows))
    assert sorted(first) == sorted(second)
    assert first != second, "another order in each epoch"
    assert loop.ledger.totals() | {"seconds": 0, "flops": 0} == (
        trainer.ledger.totals() | {"seconds": 0, "flops": 0}
    )


def test_a_trainer_behind_another_phase_has_the_whole_schedule(tmp_path: Path) -> None:
    session = _session(tmp_path, 21, 12)
    with session.stage("before", until=0.5) as stage:
        _by_loop(stage)
    seen = _by_trl(session)
    assert len(seen) == 6
    before, after = session.log.journal()
    assert before["lr"][0] == after["lr"][0] == pytest.approx(0.1 * LR)
    assert before["lr"] == after["lr"]
    assert None not in after["loss"]


def test_a_trainer_that_leaves_rows_out_draws_the_rest_anew(tmp_path: Path) -> None:
    """Some trainers drop what is too long for them."""
    session = _session(tmp_path, 16, 4)
    texts: list[list[str]] = []
    model = _watched(session, texts)
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    SFTTrainer(
        model,
        train_dataset=session.dataset(Format.PROMPT_COMPLETION).select(range(8)),
        **session.trainer_kwargs(SFTConfig, learning_rate=LR, max_length=64),
    ).train()
    session.close()
    assert len(texts) == 4
    assert all(sorted(batch) == sorted(texts[0]) for batch in texts)
    assert len({tuple(batch) for batch in texts}) > 1
    assert torch.isfinite(torch.tensor(session.log.losses)).all()
