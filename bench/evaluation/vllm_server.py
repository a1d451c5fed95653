"""vLLM as a command of its own that answers over a socket. It may lie in another environment than
bench: it wants versions of torch and transformers of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

COMMAND = "vllm"
NAME = "model"
SHOWN = 15  # lines of the server's log, where it does not start
FREE = 0.9  # of the GPU memory that nobody has taken
ON_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; half of the machine by default
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else all servers of a machine share one core
}


class NoServer(Exception):
    """vLLM did not start, or did not answer."""


def missing() -> str | None:
    """Why vLLM cannot be used here, or None."""
    if shutil.which(COMMAND):
        return None
    return (
        "engine: vllm needs the command vllm, and there is none on the PATH; see docs/install.md,"
        " or take engine: transformers"
    )


class Server:
    """Greedy answers of one model."""

    def __init__(self, place: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self._place, self._process, self._log = place, process, log
        self._wait()
        self.version = str(self._ask("GET", "/version")["version"])

    def answers(
        self, prompts: Sequence[Sequence[int]], room: int, stop: Sequence[str]
    ) -> list[list[int]]:
        """Token ids that follow each prompt of token ids: `room` at most, up to the end of the
        sequence or to one of the strings in `stop`, which is part of the answer.
        """
        asked = {
            "model": NAME,
            "prompt": [list(prompt) for prompt in prompts],
            "max_tokens": room,
            "temperature": 0.0,
            "stop": list(stop),
            "return_token_ids": True,
        }
        choices = self._ask("POST", "/v1/completions", asked)["choices"]
        return [choice["token_ids"] for choice in sorted(choices, key=lambda one: one["index"])]

    def _wait(self) -> None:
        """Until it answers; how long a run may take is limited already."""
        while True:
            if self._process.poll() is not None:
                raise NoServer(f"vLLM did not start: {self._said()}")
            with suppress(NoServer):
                self._ask("GET", "/health")
                return
            time.sleep(0.1)

    def _ask(self, verb: str, path: str, content: Any = None) -> Any:
        line = _Line(self._place)
        try:
            body = None if content is None else json.dumps(content)
            line.request(verb, path, body, {"Content-Type": "application/json"})
            answer = line.getresponse()
            text = answer.read().decode()
        except (OSError, HTTPException) as error:
            raise NoServer(f"vLLM does not answer: {self._said()}") from error
        finally:
            line.close()
        if answer.status != 200:
            raise NoServer(f"vLLM answered {answer.status}: {text[:500]}")
        return json.loads(text) if text else None

    def _said(self) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-SHOWN:])


class _Line(HTTPConnection):
    """HTTP over a socket that is a file: free ports may be taken by the time they are used."""

    def __init__(self, place: Path) -> None:
        super().__init__("localhost")
        self._place = place

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._place))


@contextmanager
def serving(
    model: Path, dtype: torch.dtype, device: torch.device, trusted: bool, log: Path
) -> Iterator[Server]:
    """A server of the model in a folder, for as long as the block runs. `NoServer` where it does
    not start. `trusted` says whether the folder's own code may run.
    """
    # a socket's path has 107 characters at most, so it lies in no folder of the run
    with TemporaryDirectory(prefix="bench-") as place, log.open("wb") as said:
        line = Path(place) / "vllm.sock"
        process = subprocess.Popen(
            [*_command(model, dtype, device), *(["--trust-remote-code"] if trusted else []),
             "--uds", str(line)],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=_environment(device),
        )  # fmt: skip
        try:
            yield Server(line, process, log)
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(model: Path, dtype: torch.dtype, device: torch.device) -> list[str]:
    named = {
        "--served-model-name": NAME,
        "--dtype": str(dtype).removeprefix("torch."),
        "--max-model-len": "auto",  # the longest that memory has room for
        **({"--gpu-memory-utilization": f"{_share(device):.2f}"} if device.type == "cuda" else {}),
    }
    flags = ["--disable-uvicorn-access-log"]
    if device.type != "cuda":
        flags.append("--enforce-eager")  # compiling takes longer than what a CPU can answer
    return [COMMAND, "serve", str(model), *(x for pair in named.items() for x in pair), *flags]


def _share(device: torch.device) -> float:
    """Of the GPU's memory, what is free but for a little: runs may share a GPU."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return FREE * free / total


def _environment(device: torch.device) -> dict[str, str]:
    """Without the modules of ours, and without what it would report to its makers."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**({} if device.type == "cuda" else ON_CPU), **kept, "VLLM_NO_USAGE_STATS": "1"}
