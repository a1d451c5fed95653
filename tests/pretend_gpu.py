"""A GPU that computes nothing: sessions and methods run on it as on a real one, with tensors that
have a shape, a type and a device, and no numbers.

A tensor on the wrong device raises as it would on a GPU. What waits for the device is written down.
Run as a program, it trains methods and prints what each waited for. It changes torch for the
whole process, so tests start it in one of its own.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from bench.accounting import shapes

SHAPE = {
    "random": "llama",
    "tokenizer": "tiny",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "equal",
)


class Backend:
    """What torch asks the module of a device."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float32]

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return torch.zeros(16, dtype=torch.uint8)

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        pass


class Fake(FakeTensorMode):
    avoid_device_init = True  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]


class Watch(TorchDispatchMode):
    """Writes down where Python waited for the device, and answers with made-up numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.__name__.split(".")[0]
        tensors = [a for arg in args for a in (arg if isinstance(arg, list | tuple) else [arg])]
        tensors = [a for a in tensors if isinstance(a, torch.Tensor)]
        there = any(a.device.type == "gpu" for a in tensors)
        if name == "_pin_memory":
            return tensors[0]
        if name in WAITING:
            self._wait(name, there)
        if there and name in shapes.INDEXING:
            for index in args[1]:
                if isinstance(index, torch.Tensor) and index.dtype == torch.bool:
                    self._wait("index by a mask", index.device.type == "gpu")
        if there or name == "_local_scalar_dense":
            out = shapes.of_unknown(func, args, kwargs or {}, tensors)
        else:
            out = func(*args, **(kwargs or {}))
        if name in ("_to_copy", "copy_") and there and out.device.type == "cpu":
            self._wait(name, there)
        return out

    def _wait(self, what: str, there: bool) -> None:
        if there:
            files = [f.filename for f in traceback.extract_stack() if "/bench" in f.filename]
            where = files[-1].rpartition("/bench")[2].lstrip("/") if files else "a backward pass"
            self.waits[f"{what} in {where}"] += 1


def waits(name: str, steps: int, folder: Path) -> dict[str, int]:
    """Train a method for so many steps; gives how often it waited for the device, by place."""
    from bench.accounting.budget import Budget
    from bench.methods.recipe import apply
    from bench.models.spec import ModelSpec
    from bench.testing import tiny_session
    from tests.little import first_rows, little, task_for

    start = ModelSpec.model_validate(SHAPE).in_suite(attention="eager")
    method = little(name)
    session = tiny_session(
        folder,
        Budget("steps", steps),
        task_for(method),
        device=torch.device("gpu:0"),
        start=start,
        max_length=32,
    )
    session.task = first_rows(session.task)
    with Fake(allow_non_fake_inputs=True), Watch() as watch:
        apply(name, method, session)
        session.close()
    return dict(watch.waits)


def mixed_up() -> str:
    """What a sum of tensors on two devices raises."""
    with Fake(allow_non_fake_inputs=True):
        try:
            torch.add(torch.ones(2, device="gpu:0"), torch.ones(2))
        except RuntimeError as error:
            return str(error)
    return ""


def main() -> None:
    from transformers import GenerationMixin

    from bench.execution.worker import quieten

    quieten()
    _setup_privateuseone_for_python_backend("gpu", Backend())
    # fake tensors cannot be swapped, and sample no tokens
    torch.nn.Module._apply = shapes.applied  # pyright: ignore[reportAttributeAccessIssue]
    GenerationMixin.generate = shapes.generated  # pyright: ignore[reportAttributeAccessIssue]
    found: dict[str, Any] = {"mixed up": mixed_up()}
    for name in sys.argv[2:]:
        with TemporaryDirectory() as folder:
            try:
                found[name] = waits(name, int(sys.argv[1]), Path(folder) / "work")
            except Exception as error:
                traceback.print_exc()
                found[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
