"""Trainings of one method in the tiny world, watched from outside: what the conformance kit draws
its findings from.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import PeftModel
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import set_seed

from bench.accounting.budget import Budget
from bench.accounting.guard import no_free_training
from bench.accounting.ledger import BudgetSpent, Ledger
from bench.data.formats import Format
from bench.data.sources import Split
from bench.data.tasks import Task
from bench.methods.learning import token_losses
from bench.methods.method import Method
from bench.methods.recipe import obstacle
from bench.methods.session import Session
from bench.models.artifact import save_model
from bench.models.load import load_tokenizer
from bench.models.spec import ModelSpec
from bench.models.start import Start, load_start
from bench.tiny.tasks import tiny_task

CPU = torch.device("cpu")
TASK, OLD_TASKS = "tiny/swap", ("tiny/people", "tiny/last")
TINY = ModelSpec(path="tiny")
ROWS = 512  # of training data: some trainers tokenise all there is before they begin
GPT2 = {"vocab_size": 300, "n_embd": 64, "n_layer": 2, "n_head": 2}
WITH_BIASES = ModelSpec.model_validate({"random": "gpt2", "tokenizer": "tiny", **GPT2})
"""For methods that need what the embedded model has not."""


def tiny_session(
    folder: Path, budget: Budget | None = None, task: str = "tiny/smallest", **changes: Any
) -> Session:
    """A session on the embedded model as the harness would make it, on the CPU with batches of 8;
    `changes` replace its fields.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "task": tiny_task(task),
        "tokenizer": load_tokenizer(TINY),
        "budget": budget or Budget("steps", 4),
        "seed": 5,
        "device": CPU,
        "dtype": torch.float32,
        "folder": folder,
        "memory": folder / "memory",
        "batch_size": 8,
        "max_length": 64,
        "ledger": Ledger(),
        "start": TINY,
        "old": tuple(tiny_task(name) for name in OLD_TASKS),
        "_data_seed": 3,
    }
    given |= changes
    if isinstance(given["start"], ModelSpec):
        given["start"] = Start(given["start"])
    return Session(**given)


@dataclass
class Trial:
    """One training and what was seen of it."""

    session: Session
    model: Any
    asked: set[tuple[Format, Split]]
    """Formats and splits of training data that the method loaded."""
    stepped: dict[int, Any] = field(default_factory=dict)
    """Each parameter tensor that an optimizer had a gradient for, by identity, which it keeps for
    as long as it stands here.
    """
    overran: str | None = None
    said: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    """Its logits right after training: some models (PEFT's CPT) round their weights anew in every
    pass, a look included.
    """

    @property
    def closely(self) -> Session:
        """Its session for looking at the model: on all rows that a look may read, as on the few
        that a budget this small allows much is chance.
        """
        session = copy(self.session)
        session.budget = Budget(session.budget.currency, math.inf)
        return session

    @property
    def spent(self) -> float:
        return self.session.ledger.spent(self.session.budget.currency) / self.session.budget.amount


def trial(method: Method, folder: Path, start: ModelSpec, tokens: float, seed: int) -> Trial:
    """Train once; the seed is of everything, the order of the data included."""
    asked: set[tuple[Format, Split]] = set()
    task = tiny_task(TASK)
    session = tiny_session(
        folder,
        Budget("tokens", tokens),
        TASK,
        start=start,
        seed=seed,
        _data_seed=seed,
        batch_size=16,
    )
    session.task = replace(task, loaders=_watched(task, asked))
    set_seed(seed)
    session.made_by = ("", method)
    with no_free_training(session.ledger), _optimizers_watched() as stepped:
        try:
            model, overran = method.train(session), None
        except BudgetSpent as error:
            model, overran = None, str(error)
    session.close()
    session.task = task
    done = Trial(session, model, asked, stepped, overran)
    return done if model is None else replace(done, said=logits(model, session))


def _watched(task: Task, asked: set[tuple[Format, Split]]) -> dict[Format, Callable[[Split], Any]]:
    def load(format: Format, split: Split) -> Any:
        asked.add((format, split))
        data = task.load(format, split)
        return data.select(range(min(ROWS, len(data))))

    return {format: functools.partial(load, format) for format in task.formats}


@contextmanager
def _optimizers_watched() -> Iterator[dict[int, Any]]:
    stepped: dict[int, Any] = {}

    def look(optimizer: Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            stepped.update((id(p), p) for p in group["params"] if p.grad is not None)

    hook = register_optimizer_step_pre_hook(look)
    try:
        yield stepped
    finally:
        hook.remove()


def runnable_start(method: Method, folder: Path) -> ModelSpec | str:
    """A start that the method can run on, or the reason why there is none."""
    reasons = []
    for number, start in enumerate((TINY, WITH_BIASES)):
        session = tiny_session(folder / f"look-{number}", task=TASK, start=start)
        reason = obstacle(method, session)
        session.close()
        if reason is None:
            return start
        reasons.append(reason)
    return reasons[0]


@functools.cache
def half_trained() -> ModelSpec:
    """The embedded model after a little supervised training: where methods start that need a model
    with a chance to be right.
    """
    place = Path(_for_this_process().name)
    session = tiny_session(place / "session", Budget("steps", 120), TASK, batch_size=16)
    model = session.model()
    optimizer = session.optimizer(model, 1e-3)
    for batch in session.batches(Format.PROMPT_COMPLETION):
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    session.close()
    save_model(model, place / "weights", torch.float32, session.start)
    return TINY.moved(place / "weights")


@functools.cache
def _for_this_process() -> TemporaryDirectory[str]:
    """A folder that is deleted when the process ends: methods that are checked one after another
    share what lies there.
    """
    return TemporaryDirectory(prefix="bench-")


def logits(model: Any, session: Session) -> torch.Tensor:
    """What a model says of eight validation rows."""
    rows = session.task.load(Format.PROMPT_COMPLETION, "validation")[:8]
    batch = session.encode(rows["prompt"], rows["completion"])
    with session.unmetered(), torch.no_grad():
        return model.eval()(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits


def changed_frozen(done: Trial, opened: Any) -> tuple[int, list[str]]:
    """How many of the start's tensors the method left frozen, and the names of those that training
    has changed all the same.

    They should be as in the start, or as loading the adapter onto the start makes them: some
    adapters (PiSSA, OLoRA, KaSA) take what they begin with out of the weights beneath them,
    whenever they are set up. What training alone had changed would be lost then.
    """
    start = load_start(done.session.start, torch.float32, CPU).state_dict()
    remade = dict(opened.named_parameters()) if isinstance(opened, PeftModel) else {}
    count, changed = 0, []
    for name, tensor in done.model.named_parameters():
        bare = _in_start(name, start)
        if bare is None or tensor.requires_grad or tensor.shape != start[bare].shape:
            continue
        count += 1
        known = [start[bare], *([remade[name]] if name in remade else [])]
        if not any(torch.equal(tensor, other) for other in known):
            changed.append(bare)
    return count, changed


def _in_start(name: str, start: dict[str, Any]) -> str | None:
    """The name that a parameter has in the start, without PEFT around it."""
    bare = name.replace(".base_layer", "").replace(".original_module", "")
    wraps = ("", "base_model.model.", "base_model.")
    return next((n for wrap in wraps if (n := bare.removeprefix(wrap)) in start), None)


def fingerprint(model: Any) -> str:
    """Hash of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def falls(losses: Sequence[float]) -> bool:
    """Whether the last fifth lies below the first."""
    fifth = max(1, len(losses) // 5)
    return len(losses) > 1 and sum(losses[-fifth:]) < sum(losses[:fifth])
