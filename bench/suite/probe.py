"""Seconds of a run on this machine, from a few real passes of the suite's model on its data."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from bench.data.hub import one_line
from bench.data.tasks import Task
from bench.data.tokenize import collate
from bench.models.spec import ModelSpec
from bench.suite.forecast import Expected, Seconds
from bench.suite.obstacles import shape
from bench.suite.plan import drift_texts, tasks
from bench.suite.schema import Suite
from bench.system.cache import file_for, keep
from bench.system.entry_points import PACKAGE
from bench.system.errors import UserError

if TYPE_CHECKING:
    import torch

SAMPLE = 256  # rows from which the usual length is estimated
PATIENCE = 1.0  # seconds that a pass takes at least to be believed, unless it passes everything
BACKWARD = 3.0  # forward and both backward passes, in forwards
FRESH = 24 * 3600.0  # seconds for which a machine counts as being as fast as it was
PROCESS = 0.5  # seconds until both processes of a run have started
LARGE = 400e6  # parameters above which one layer stands for all on a CPU


@dataclass(frozen=True)
class Probe:
    """What a method that trains all parameters once on each batch does, and how long it takes."""

    parameters: int
    tokens_per_batch: float
    tokens: float
    """That the budget pays for."""
    flops: float
    seconds: Seconds
    """Of one run on the whole budget, scored on every task."""
    unscored: list[str] = field(default_factory=list)
    """Why a task could not be scored, for each that could not."""

    @property
    def expected(self) -> Expected:
        return Expected(self.seconds, certain=True)


def remembered(
    suite: Suite, setting: str, processor: str, device: torch.device, dtype: torch.dtype
) -> Probe:
    """As `probe`; what it found within the last day for this comparison key on this processor is
    not measured again.
    """
    import torch

    batch = suite.batch.model_dump()
    decides = [setting, processor, batch, torch.__version__, version(PACKAGE)]
    file = file_for("probes", decides)
    if file.is_file() and time.time() - file.stat().st_mtime < FRESH:
        known = json.loads(file.read_text())
        return Probe(**{**known, "seconds": Seconds(**known["seconds"])})
    found = probe(suite, device, dtype)
    keep(file, json.dumps(asdict(found)))
    return found


def probe(suite: Suite, device: torch.device, dtype: torch.dtype) -> Probe:
    """Load the model, pass a few batches through it, score a few items of every task.

    Takes seconds on a small model and about half a minute on one of 135M parameters on a CPU core.
    A task that cannot be scored counts as nothing. `UserError` where the model fails.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as runs have
    try:
        with redirect_stderr(io.StringIO()):  # the bars of the libraries
            return _Probe(suite, device, dtype).measured()
    except Exception as error:  # a run would end the same way, hours later
        name = suite.model.path or suite.model.random
        what = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(f"the model {name} fails on the first rows of the data: {what}") from error
    finally:
        torch.set_num_threads(threads)


class _Probe:
    def __init__(self, suite: Suite, device: torch.device, dtype: torch.dtype) -> None:
        from bench.models.load import load_tokenizer

        self._suite, self._device = suite, device
        self._tokenizer = load_tokenizer(suite.start())
        started = time.perf_counter()
        self._parameters = _parameters(suite)
        self._model = _loaded(suite, dtype, device, self._parameters)
        self._load = time.perf_counter() - started
        self._rows = self._encoded(tasks(suite, suite.target[:1])[0])
        given = suite.batch.micro
        self._most = given if isinstance(given, int) else suite.batch.size
        self._per_row = sum(len(ids) for ids, _ in self._rows) / len(self._rows)

    def measured(self) -> Probe:
        import torch

        from bench.accounting import packed

        parameters = self._parameters
        seen = packed.parameters(self._model)
        per_token = 2.0 * parameters * BACKWARD
        looking = self._speed(self._forward)
        try:
            learning = self._speed(self._backward)
        except (torch.OutOfMemoryError, MemoryError):
            learning = looking / BACKWARD
        budget = self._suite.budget.budget()
        tokens = {
            "tokens": budget.amount,
            "samples": budget.amount * self._per_row,
            "steps": budget.amount * self._per_row * self._suite.batch.size,
            "flops": budget.amount / per_token,
            "seconds": budget.amount * learning,
        }[budget.currency]
        evaluate, unscored = self._scoring()
        return Probe(
            parameters,
            self._per_row * self._suite.batch.size,
            tokens,
            tokens * per_token,
            Seconds(
                train=tokens / learning,
                objective=self._objective(looking),
                evaluate=evaluate,
                drift=self._drift(),
                around=3 * self._load + PROCESS,  # loaded twice, and saved
            ).times(parameters / seen),
            unscored,
        )

    def _encoded(self, task: Task) -> list[Any]:
        """Some training rows of a task as token ids, whatever its format."""
        from bench.evaluation.agreement import spread_rows

        return spread_rows(task, "train", SAMPLE, self._tokenizer, self._suite.batch.max_length)

    def _speed(self, passes: Callable[[dict[str, Any]], None]) -> float:
        """Tokens per second, of a batch as large as patience allows: more at once are faster."""
        speed, rows = 0.0, self._rows
        for count in _growing(self._most):
            given = [rows[i * len(rows) // count] for i in range(count)]
            batch = collate(given, self._tokenizer)
            batch = {name: tensor.to(self._device) for name, tensor in batch.items()}
            if count == 1:
                passes(batch)  # the first pass of all reads the weights
            seconds = self._seconds(lambda given=batch: passes(given))
            speed = float(batch["attention_mask"].sum()) / seconds
            if seconds > PATIENCE:
                break
        return speed

    def _seconds(self, action: Callable[[], object]) -> float:
        """Of one time, the mean over a fifth of a second."""
        from bench.accounting.resources import stopwatch

        times, spent = 0, 0.0
        while spent < 0.2:
            with stopwatch(self._device) as watch:
                action()
            times, spent = times + 1, spent + watch.seconds
        return spent / times

    def _backward(self, batch: dict[str, Any]) -> None:
        from bench.methods.learning import token_losses

        token_losses(self._model, batch).mean().backward()
        self._model.zero_grad(set_to_none=True)

    def _forward(self, batch: dict[str, Any]) -> None:
        import torch

        from bench.methods.learning import token_losses

        with torch.no_grad():
            token_losses(self._model, batch)

    def _objective(self, tokens_per_second: float) -> float:
        from bench.methods.row_order import LEAST_ROWS, MOST_ROWS, look

        fit = look(self._suite.budget.budget()) / self._per_row
        rows = min(MOST_ROWS, max(LEAST_ROWS, fit))
        return 2 * rows * self._per_row / tokens_per_second + self._load

    def _scoring(self) -> tuple[float, list[str]]:
        """Seconds of all tasks, and why some cannot be scored."""
        from bench.evaluation.lm_eval import open_model, seconds_of

        seconds, unscored = 0.0, list[str]()
        size = self._suite.batch.answered_at_once
        lm = open_model(self._model, self._tokenizer, size, self._device)
        for task in tasks(self._suite, self._suite.scored):
            try:
                seconds += seconds_of(lm, task, self._suite.split, 2 * PATIENCE)
            except Exception as error:  # of lm-eval, or of code that the task brings
                what = f"{type(error).__name__}: {one_line(error)}"
                unscored.append(f"{task.name} cannot be scored: {what}")
        return seconds, unscored

    def _drift(self) -> float:
        from bench.evaluation.drift import DRIFT_ROWS, drift

        if self._suite.drift is None:
            return 0.0
        texts, seconds = drift_texts(self._suite)[:DRIFT_ROWS], 0.0
        length, model = self._suite.batch.max_length, self._model
        for count in _growing(len(texts)):
            some = texts[:count]
            took = self._seconds(
                lambda some=some: drift(model, model, some, self._tokenizer, length, _nobody)
            )
            seconds = took * sum(map(len, texts)) / sum(map(len, some))
            if took > PATIENCE:
                break
        return seconds + self._load


def _growing(to: int) -> Iterator[int]:
    count = 1
    while count < to:
        yield count
        count *= 4
    yield to


def _nobody(_: float) -> None:
    """Hears of progress."""


def _parameters(suite: Suite) -> int:
    """The model's size, built without weights."""
    import torch

    from bench.models.load import load_model

    model = load_model(_in_full(suite), torch.float32, torch.device("meta"))
    return sum(p.numel() for p in model.parameters())


def _in_full(suite: Suite) -> ModelSpec:
    """The shape of the start model, its weights in full: in four bits a shape has no values."""
    return shape(suite.start()).model_copy(update={"quantize": None})


def _loaded(suite: Suite, dtype: torch.dtype, device: torch.device, parameters: int) -> Any:
    """The start model as runs train it; with random weights where its own are not to be had, and
    with one layer where it is too large to be tried out in seconds.
    """
    from bench.models.load import load_model
    from bench.models.precision import compute_in

    if device.type == "cpu" and parameters > LARGE:
        thin = _in_full(suite).model_dump() | {"num_hidden_layers": 1}
        thin.pop("layer_types", None)  # one for each layer
        model = load_model(ModelSpec.model_validate(thin), dtype, device)
        compute_in(model, dtype)
        return model.train()
    try:
        model = load_model(suite.start(), dtype, device)
    except OSError:
        model = load_model(_in_full(suite), dtype, device)
    model.config.use_cache = False
    compute_in(model, dtype)
    return model.train()
