"""What a session holds: all that it was given, and what it writes down."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch.optim import Optimizer

from bench.accounting import resources
from bench.accounting.budget import Budget
from bench.accounting.ledger import Account, Ledger
from bench.data.order import Ordered
from bench.data.sources import Split
from bench.data.tasks import Task
from bench.methods.optimizer import PLAIN, Optim, demand
from bench.methods.phase import Phases
from bench.methods.run_log import RunLog
from bench.models.judge import Judge
from bench.models.start import Start
from bench.system import ranks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class AddsTo(Protocol):
    """What puts an adapter on a model: see `Adapter`."""

    def on(self, model: PreTrainedModel, session: Any) -> Any:
        """The frozen model with the adapter."""
        ...


@dataclass
class SessionState:
    """What the parts of a session share. `Session` has the verbs that a method calls."""

    task: Task
    tokenizer: PreTrainedTokenizerBase
    budget: Budget
    seed: int
    """The method's own seed; torch, numpy and random are seeded with it already."""
    device: torch.device
    dtype: torch.dtype
    folder: Path
    """An empty folder for whatever the method wants to write; it is deleted afterwards."""
    memory: Path
    """For what a method carries from one target of a sequence to the next; not made yet."""
    batch_size: int
    max_length: int
    ledger: Ledger
    start: Start
    """What `model()` and `reference()` load."""
    micro: int | Literal["auto"] | None = None
    """Rows of a batch that pass the model at once: all where None, as many as fit where "auto"."""
    gpus: int = 1
    """Devices over which the layers of models are spread."""
    optim: Optim = PLAIN
    """What `optimizer()` gives, and what trainers use."""
    checkpointing: bool = False
    """Compute activations anew in the backward pass rather than keep them."""
    padding_free: bool = False
    """Let texts stand side by side in a row, where a likelihood is computed."""
    merges: bool = False
    """Whether what comes out must become part of the model's weights."""
    compiled: bool = False
    """Compile the layers of models that are handed out."""
    group_by_length: bool = False
    """Put rows of similar length in one batch."""
    stage_name: str = ""
    """Where in its recipe this session stands: empty, or `0`, `1/0`, …"""
    old: tuple[Task, ...] = ()
    """Tasks that should not be forgotten and have training data: retained, and earlier targets."""
    earlier: tuple[Path, ...] = ()
    """Adapters that this recipe saved on earlier targets, in their order."""
    log: RunLog = field(default_factory=RunLog)
    adapter: AddsTo | None = None
    """What is put on models that are handed out to be trained."""
    made_by: tuple[str, Any] = ("", None)
    """Name and method of whoever made the model, a part of a recipe included."""
    _data_seed: int = 0
    _tell: Callable[[float], None] = lambda fraction: None
    _split: Split = "train"
    _slack: float | None = None

    def __post_init__(self) -> None:
        self._account = Account(self.budget, self.ledger, self._on_step, self._slack)
        self._phases = Phases(self._account, self.log.phases, self.stage_name)
        self._ordered: Ordered | None = None
        self._speed = resources.Speed(self.device, self.ledger)
        self.judges: dict[str, Judge] = {}  # of the task's reward, by where they lie

    @property
    def rows_at_once(self) -> int:
        """How many rows pass the model at once on each device, as far as that is known by now."""
        known = self.log.micro if self.micro in (None, "auto") else self.micro
        return known or self.batch_size // ranks.count()

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0..1."""
        return self._account.progress

    def purpose(self, name: str) -> AbstractContextManager[None]:
        """Charge all passes in here to this line of the ledger, such as rollout or reference."""
        return self.ledger.passes_for(name)

    @contextmanager
    def unmetered(self) -> Iterator[None]:
        """For the harness: here nobody is charged, the clock stands, memory is not looked at."""
        with self.ledger.suspend(), self._paused() as watch:
            yield
            gc.collect()
        self.log.aside_seconds += watch.seconds

    @contextmanager
    def loading(self) -> Iterator[None]:
        """For loading a model: the clock stands, and what memory that takes meanwhile is forgotten.
        Before the first pass, so is all that came earlier.
        """
        with self._paused() as watch:
            # hooks tie a model and its meter into a cycle: what was handed out before and dropped
            # goes now
            gc.collect()
            yield
        self.log.load_seconds += watch.seconds
        if not self.ledger.purposes:
            self.log.memory.restart(self.device)

    @contextmanager
    def _paused(self) -> Iterator[resources.Stopwatch]:
        self.log.memory.note(self.device)
        with resources.stopwatch(self.device) as watch:
            yield watch
        resources.restart_peak(self.device)
        self.ledger.paused += watch.seconds

    def close(self) -> None:
        """Stop listening for steps, and write down the speed and the last losses."""
        self._account.close()
        self.log.read_losses()
        if (steady := self._speed.read()) is not None:
            self.log.speeds.append(steady)

    def _on_step(self, optimizer: Optimizer) -> None:
        demand(optimizer, self.optim)
        self.log.weigh(optimizer)
        self._phases.stepped(optimizer, self.ledger.steps)
        self._speed.step()
        self._tell(self._account.fraction)
