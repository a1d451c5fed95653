"""What places runs: a few methods that `bench run` calls, and the news that it hears.

An executor is found by its name in the entry point group `bench.executors`. The entry point names
whatever takes a `Placement` and gives an `Executor`. All methods are called from one thread. The
driver alone writes results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl

from bench.execution.run_job import Outcome
from bench.execution.worker import Job
from bench.suite.schema import Suite
from bench.system.entry_points import PACKAGE, offers
from bench.system.errors import UserError, nearest

GROUP = "bench.executors"
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Running:
    """A run is under way."""

    run: str
    """Its id."""
    stage: str
    fraction: float
    """Of the stage that is done, 0..1."""
    node: str = ""
    """The machine, where there are several."""


@dataclass(frozen=True)
class Finished:
    """A run has ended, well or not, and left a record."""

    run: str
    outcome: Outcome
    node: str = ""


@dataclass(frozen=True)
class Lost:
    """A run has ended without a record: its machine or its process is gone."""

    run: str
    reason: str
    node: str = ""
    final: bool = False
    """Whether it would end in the same way again. If not, the driver places it a few times more."""


News = Running | Finished | Lost


class Executor(Protocol):
    """Places runs, for one `bench run`."""

    slots: int
    """How many runs go on at once, as far as is known."""
    kind: str
    """The device of every run: cpu or cuda. It is part of what the ids of runs depend on."""

    @property
    def processor(self) -> str:
        """The name of that device, for forecasts from earlier runs; empty where nobody knows it."""
        ...

    def room(self) -> int:
        """How many more jobs it takes now."""
        ...

    def submit(self, jobs: Sequence[Job]) -> None:
        """Place these jobs; a run that was lost may come again."""
        ...

    def hear(self, seconds: float) -> Iterable[News]:
        """What has happened since the last call; it waits so long if nothing has."""
        ...

    def close(self) -> None:
        """Cancel what has not ended, wait until it has, and leave nothing behind."""
        ...


@dataclass(frozen=True)
class Placement:
    """What `--on` says, such as `ray://head:10001?gpus=0.5`."""

    name: str
    address: str = ""
    options: tuple[tuple[str, str], ...] = ()
    jobs: int | None = None
    """Runs at once, as the user asked; None where the executor decides."""
    gpus: int = 1
    """Devices that one run needs, as its suite says."""
    memory: float | None = None
    """Bytes that the training of a run may hold, as its suite says."""

    @staticmethod
    def parse(text: str, jobs: int | None, suite: Suite) -> Placement:
        whole, _, options = text.partition("?")
        name, _, address = whole.partition("://")
        given = tuple(parse_qsl(options, keep_blank_values=True))
        return Placement(name, address, given, jobs, suite.gpus, suite.memory)

    def number(self, key: str, kind: Callable[[str], Number], default: Number) -> Number:
        """An option that is a number, no less than 0."""
        text = dict(self.options).get(key)
        if text is None:
            return default
        try:
            value = kind(text)
        except ValueError:
            value = kind("-1")
        if not value >= 0:
            raise UserError(f"--on {self.name}: {key}={text} is no number that makes sense")
        return value

    def refuse_other_options(self, known: Sequence[str]) -> None:
        """UserError for an option that is not among the known."""
        for key, _ in self.options:
            if key not in known:
                hint = nearest(key, known) or f"; there are {', '.join(known)}"
                raise UserError(f"--on {self.name} has no option {key}{hint}")


def open_executor(text: str, jobs: int | None, suite: Suite) -> Executor:
    """The executor that `--on` names, for runs of a suite; `UserError` with the list where there is
    none.
    """
    placement, found = Placement.parse(text, jobs, suite), offers(GROUP)
    if placement.name not in found:
        raise UserError(
            f"there is no executor {placement.name}{nearest(placement.name, found)}"
            f" (--on takes {', '.join(found)})"
        )
    offer = found[placement.name]
    if offer.problem:
        raise UserError(f"{offer.name} of {offer.origin} cannot be used: {offer.problem}")
    return offer.loaded(placement)


def missing_package(name: str, extra: str) -> UserError:
    """What to tell where an executor's own package is not there."""
    return UserError(f'--on {extra} needs {name}: pip install "{PACKAGE}[{extra}]"')
