"""`bench …` as a process of its own that has imported everything already.

A cold process imports for six seconds, and so does its fork server: most of what a small run costs.
Here one process per test session imports all that bench can import, runs nothing, and forks for
each command. The fork server of a command is forked before the command begins, so that nothing
which the command does reaches its runs, as in a cold one. Tests that signal a process, look at its
start, or install it start a cold one.
"""

from __future__ import annotations

import atexit
import faulthandler
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from functools import cache, partial
from multiprocessing import util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NUMBER = struct.Struct("i")
ASIDE = 200
"""Above any descriptor that is open."""
LATE = 60.0
"""Seconds after which a command that should have ended itself will not."""
STUCK = 300.0
"""Seconds after which a stage of a run tells where it is: none takes so long on tiny models."""


class WarmBench:
    """Forks a command whenever it is asked."""

    def __init__(self) -> None:
        self._door, theirs = socket.socketpair()
        # of libraries that look for their cache on import
        self._cached = tempfile.TemporaryDirectory(prefix="warm-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": self._cached.name},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        atexit.register(self._process.kill)

    def run(
        self, command: list[str], folder: Path, environment: dict[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """What `subprocess.run` gives for a command in a folder. One that takes longer ends and
        tells where it was.
        """
        with (
            tempfile.TemporaryFile("w+") as asked,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            given = {"argv": command, "folder": str(folder), "environment": environment}
            json.dump({**given, "seconds": seconds}, asked)
            asked.seek(0)
            self._door.settimeout(seconds + LATE)
            socket.send_fds(self._door, [b"!"], [asked.fileno(), out.fileno(), err.fileno()])
            (code,) = NUMBER.unpack(self._door.recv(NUMBER.size))
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), err.read())


@cache
def warm_bench() -> WarmBench:
    """The one of this session; it begins to import now."""
    return WarmBench()


def import_everything(package: Any) -> None:
    """Import every module of a package."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def wait_for_a_command(door: socket.socket) -> None:
    """Fork for each command that is asked for. Comes back only in the fork."""
    while True:
        word, fds, _, _ = socket.recv_fds(door, 1, 3)
        if not word:
            os._exit(0)
        if not (pid := os.fork()):
            door.close()
            become(*fds)
            return
        for fd in fds:
            os.close(fd)
        door.send(NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))


def become(asked: int, out: int, err: int) -> None:
    """Make this process what a new one would be: its command, folder, environment and output."""
    with os.fdopen(asked) as file:
        given = json.load(file)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(given["folder"])
    sys.argv = given["argv"]
    put_on(given["environment"])
    fork_a_fork_server()
    faulthandler.dump_traceback_later(given["seconds"], exit=True, file=2)


def put_on(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[1:1] = [path for path in paths if path not in sys.path]
    importlib.invalidate_caches()


def fork_a_fork_server() -> None:
    """Fork what becomes the fork server as soon as multiprocessing starts one."""
    door, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        door.close()
        become_a_fork_server(theirs)
    theirs.close()
    start = util.spawnv_passfds

    def start_or_wake(path: Any, args: Any, fds: Sequence[int]) -> int:
        if "forkserver" not in args[-1]:
            return start(path, args, fds)
        with tempfile.TemporaryFile("w+") as asked:
            json.dump([args[-1], list(fds), dict(os.environ)], asked)
            asked.seek(0)
            socket.send_fds(door, [b"!"], [asked.fileno(), *fds])
        return pid

    util.spawnv_passfds = start_or_wake


def become_a_fork_server(door: socket.socket) -> None:
    """Wait for the program of a fork server, and run it."""
    word, fds, _, _ = socket.recv_fds(door, 1, 8)
    if not word:
        os._exit(0)
    door.close()
    with os.fdopen(fds[0]) as file:
        program, numbers, environment = json.load(file)
    # The program names its descriptors by the numbers that they have in the command's process.
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD, ASIDE) for fd in fds[1:]]
    for fd in fds[1:]:
        os.close(fd)
    for fd, number in zip(aside, numbers, strict=True):
        os.dup2(fd, number)
        os.close(fd)
    put_on(environment)
    told = partial(faulthandler.dump_traceback_later, STUCK, file=os.dup(2))
    os.register_at_fork(after_in_child=told)
    try:
        exec(program)
    finally:
        os._exit(0)


def outcome(run: Callable[[], None]) -> int:
    """The exit code of a program that ends as Python's own would."""
    try:
        run()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end(code: int) -> None:
    """Leave at once: to take down all that was imported lasts longer than most commands."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    ours = socket.socket(fileno=int(sys.argv[1]))
    import bench
    from bench.cli import main
    from bench.report.html.vega import vega

    import_everything(bench)
    # Pages share one script. What bundles it has threads, so another process does: a fork of one
    # that has used it may wait for ever when it draws a picture.
    subprocess.run(
        [sys.executable, "-c", "from bench.report.html.vega import vega; vega()"], check=True
    )
    vega()
    gc.collect()
    gc.freeze()
    wait_for_a_command(ours)
    end(outcome(main.main))
