"""Reward functions of the user's own, with the signature of TRL's: found, imported, and called with
a limit of time.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.system.errors import BrokenReward, UserError, nearest

LIMIT = 60.0
"""Seconds that one call may take, and the import."""
ALWAYS = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")
"""What a function is called with beside the columns of the data, as `trl.GRPOTrainer` does it."""


class _OutOfTime(BaseException):
    """Not an `Exception`, so that a function that catches those is stopped too."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `_OutOfTime` after so many seconds. Only the main thread can be interrupted; elsewhere
    there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def source(name: str, folder: Path) -> Path | None:
    """The file that a function stands in: `file.py:function`, relative to `folder`, or
    `module:function`. None where a module has no file; a `UserError` where there is nothing.
    """
    where = name.rpartition(":")[0]
    if where.endswith(".py"):
        file = folder / where
        if not file.is_file():
            raise UserError(f"reward {name}: there is no file {file}")
        return file
    _look_in(folder)
    try:
        spec = importlib.util.find_spec(where)
    except (ImportError, ValueError) as error:
        raise UserError(f"reward {name}: there is no module {where}: {error}") from None
    if spec is None:
        raise UserError(f"reward {name}: there is no module {where}")
    return Path(spec.origin) if spec.origin and Path(spec.origin).is_file() else None


def imported(name: str, folder: Path) -> Callable[..., Any]:
    """The function of that name; a `UserError` where it cannot be had."""
    where, _, called = name.rpartition(":")
    file = source(name, folder)
    try:
        with _limited(LIMIT), redirect_stdout(sys.stderr):  # what is printed there is a plan
            local = file if where.endswith(".py") else None
            module = _run(local) if local else importlib.import_module(where)
            found = getattr(module, called, None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the user's file raises, sys.exit included
        raise UserError(f"reward {name} cannot be imported: {_told(error, file)}") from None
    if not callable(found):
        what = "is no function" if found is not None else "does not exist"
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UserError(f"reward {name}: {called} {what} in {where}{nearest(called, functions)}")
    if missing := _refused(found):
        raise UserError(
            f"reward {name} does not take {', '.join(missing)}: write it as def"
            f" {called}(prompts, completions, **columns), as TRL calls it"
        )
    return found


ready = cache(imported)
"""As `imported`, once in a process: what a function keeps in its module stays."""


def earned(
    name: str, folder: Path, count: int, given: dict[str, Any], limit: float = LIMIT
) -> list[float | None]:
    """What a function gives for so many completions, called with `given`; `BrokenReward` where it
    raises, takes longer than `limit` seconds, or gives anything but a number or None for each.
    """
    function = ready(name, folder)
    try:
        with _limited(limit):
            found = function(**given)
            if inspect.iscoroutine(found):
                import asyncio  # late: the command line must not wait for it

                found = asyncio.run(found)
            values = list(found) if isinstance(found, Iterable) else None
    except KeyboardInterrupt:
        raise
    except _OutOfTime:
        raise BrokenReward(
            f"reward {name} took more than {limit:g} s for {count} completions"
        ) from (None)
    except BaseException as error:  # whatever the user's function raises, sys.exit included
        raise BrokenReward(f"reward {name} raised {_told(error, source(name, folder))}") from error
    if values is None:
        raise BrokenReward(f"reward {name} gave {found!r}, not a list of rewards")
    if len(values) != count:
        raise BrokenReward(f"reward {name} gave {len(values)} rewards for {count} completions")
    return [_number(name, place, value) for place, value in enumerate(values)]


def _number(name: str, place: int, value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise BrokenReward(
            f"reward {name} gave {value!r} for completion {place}, not a finite number or None"
        )
    return number


def _told(error: BaseException, file: Path | None) -> str:
    """An exception in one line, with the last line of the user's file that it passed."""
    if isinstance(error, _OutOfTime):
        return f"it took more than {LIMIT:g} s"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if file and frame.filename == str(file)]
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    return f"{text}, at line {lines[-1]}" if lines else text


def _refused(function: Callable[..., Any]) -> list[str]:
    """Which of the arguments that every call has a function does not take."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin tells nothing
        return []
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return []
    named = {
        n for n, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    }
    return [name for name in ALWAYS if name not in named]


def _run(file: Path) -> ModuleType:
    """A file as a module of its own; it may import what lies beside it."""
    _look_in(file.parent)
    name = f"reward_file_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _look_in(folder: Path) -> None:
    """Let modules be imported from a folder, after everything that is installed."""
    if (place := str(folder.resolve())) not in sys.path:
        sys.path.append(place)
    importlib.invalidate_caches()
