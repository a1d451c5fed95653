"""How much memory a training takes, from shapes alone: the first steps of a run on its longest
rows, with tensors that hold no numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.execution.kept import code
from bench.execution.worker import Job
from bench.methods.entry import Resolved, resolve
from bench.methods.recipe import apply, learns, leaves
from bench.suite.obstacles import session_of_shape
from bench.suite.plan import tasks
from bench.system.cache import file_for, keep

STEPS = 2  # in the second, the optimizer has its state
ROWS = 8  # batches of the longest rows
PATIENCE = 120.0  # seconds for one method
GIB = 2**30


@dataclass(frozen=True)
class Weighed:
    """Memory of a training: weights, gradients, optimizer state and activations, but nothing that
    libraries take for themselves.
    """

    bytes: int
    micro: int
    """Rows that pass the model at once."""
    complete: bool
    """False where the method takes too long to look at: it may need more."""

    def __str__(self) -> str:
        return ("" if self.complete else "more than ") + _gib(self.bytes)


def weigh(job: Job, report: Callable[[float], None]) -> dict[str, Any]:
    """A stage of a run that trains nothing. Where the suite limits memory, fewer rows at once are
    tried as long as they do not fit: `weighed` has each try.
    """
    limit, found = job.suite.memory, []
    for micro in _micros(job):
        found.append(_peak(job, micro))
        if limit is None or found[-1].bytes <= limit:
            break
    return {"seconds": {}, "weighed": [asdict(one) for one in found]}


def remembered(job: Job, look: Callable[[], Mapping[str, Any]]) -> list[Weighed] | None:
    """What a look found, now or for an earlier such run; None where a method cannot be weighed."""
    if job.suite.model.quantize == "int8":  # large values are passed apart, and shapes tell of none
        return None
    file = file_for(
        "memory",
        [job.run.setting, job.run.method, job.run.parameters, job.suite.memory]
        + [job.suite.batch.model_dump(), code(job)],
    )
    if file.is_file():
        found = json.loads(file.read_text())
    elif (outcome := look())["status"] == "ok":
        found = outcome["weighed"]
        keep(file, json.dumps(found))
    else:
        return None
    return [Weighed(**one) for one in found]


def too_large(found: list[Weighed] | None, job: Job) -> str | None:
    """Why a run does not fit the memory that the suite allows, or None."""
    limit = job.suite.memory
    if limit is None or not found:
        return None
    first, last = found[0], found[-1]
    if first.bytes <= limit or (last.bytes <= limit and job.suite.batch.micro == "auto"):
        return None
    said = f"it needs about {first} with {first.micro} rows at once; memory allows {_gib(limit)}"
    if last.bytes <= limit:
        return f"{said}, {_gib(first.bytes - limit)} less. batch: {{micro: {last.micro}}} fits"
    return f"{said}, and one row alone needs {last}, {_gib(last.bytes - limit)} too much"


def fitting(job: Job, found: list[Weighed] | None) -> Job:
    """The job with the rows at once that fit, where the suite leaves that to the memory."""
    batch = job.suite.batch
    if not found or batch.micro != "auto":
        return job
    settled = batch.model_copy(update={"micro": found[-1].micro})
    return replace(job, suite=job.suite.model_copy(update={"batch": settled}))


def _gib(size: float) -> str:
    return f"{size / GIB:,.2f} GiB"


def _micros(job: Job) -> Iterator[int]:
    """Rows at once as the suite says, then half as many, and so on."""
    from bench.methods.fit import fewer

    batch = job.suite.batch
    micro = batch.micro if isinstance(batch.micro, int) else batch.size
    yield micro
    while micro > 1:
        yield (micro := fewer(batch.size, micro))


def _peak(job: Job, micro: int) -> Weighed:
    """Of the part of the recipe that needs most."""
    recipe = resolve(job.run.method or "", job.run.parameters)
    found = [_peak_of(job, leaf, micro) for leaf in leaves(recipe) if learns(leaf.method)]
    complete = all(one.complete for one in found)
    return replace(max(found, key=lambda one: one.bytes), complete=complete)


def _peak_of(job: Job, leaf: Resolved, micro: int) -> Weighed:
    from bench.accounting.shapes import OutOfTime, without_numbers

    with TemporaryDirectory() as folder, without_numbers(PATIENCE) as pretended:
        try:
            session = _session(job, Path(folder), micro)
            apply(leaf.name, leaf.method, session)
            session.close()
            complete = True
        except OutOfTime:
            complete = False
    return Weighed(pretended.peak, micro, complete)


def _session(job: Job, folder: Path, micro: int) -> Any:
    """As the run will have it for its first target, for a few steps on the longest rows."""
    import torch

    from bench.accounting.budget import Budget
    from bench.execution.environment import precision

    suite, rows = job.suite, ROWS * job.suite.batch.size
    (target, *_), retained = tasks(suite, suite.target), tasks(suite, suite.retain)
    return session_of_shape(
        suite,
        0,
        folder,
        task=_longest(target, rows),
        old=tuple(_longest(task, rows) for task in retained if task.formats),
        budget=Budget("steps", STEPS),
        device=torch.device("cpu"),
        dtype=precision(suite, job.device),
        micro=micro,
        optim=suite.optimizer,
        checkpointing=suite.batch.checkpointing,
        padding_free=suite.batch.padding_free,
    )


def _longest(task: Any, count: int) -> Any:
    """The task with its longest rows alone, by their characters."""

    def loader(format: Any) -> Callable[[Any], Any]:
        def load(split: Any) -> Any:
            rows = task.loaders[format](split)
            sizes = [sum(len(str(value)) for value in row.values()) for row in rows]
            order = sorted(range(len(rows)), key=sizes.__getitem__, reverse=True)
            return rows.select(order[:count])

        return load

    return replace(task, loaders={format: loader(format) for format in task.loaders})
