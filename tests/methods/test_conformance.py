"""The conformance kit: every method that is installed passes it, and each of its lines finds the
method that breaks it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import torch
from pydantic import Field

from bench import Format, LogRange, Merger, Method, Skipped, Weights, token_losses
from bench.methods import registry
from bench.methods.recipe import Recipe
from bench.testing import assert_conforms, check, check_merger

from .. import guide
from ..conftest import Bench

METHODS = [
    name
    for name, plugin in registry.plugins().items()
    if plugin.method and not issubclass(plugin.method, Recipe)
]


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_method_conforms(name: str, tmp_path: Path) -> None:
    try:
        assert_conforms(registry.usable(name), tmp_path)
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("name", list(registry.mergers()))
def test_every_merger_conforms(name: str) -> None:
    assert [
        finding for finding in check_merger(registry.usable_merger(name)) if not finding.ok
    ] == []


class Absent(Merger):
    """Says nothing."""

    reference: ClassVar = "none"

    def merge(self, start: Weights, parts: Sequence[Weights]) -> Weights:
        parts[0]["a"].zero_()
        return start


def test_the_kit_finds_what_is_wrong_with_a_merger() -> None:
    wrong = [finding.what for finding in check_merger(Absent) if not finding.ok]
    assert wrong == ["leaves the weights that it is given as they are", "the parts decide"]


class Plain(Method):
    """Trains everything."""

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    reference: ClassVar = "none"
    lr: Annotated[float, LogRange(1e-5, 1e-2), Field(gt=0)] = 1e-3

    def train(self, session: Any) -> Any:
        model = session.model()
        self.learn(session, model)
        return model

    def learn(self, session: Any, model: Any) -> None:
        optimizer = session.optimizer(model, self.lr)
        for batch in session.batches(Format.PROMPT_COMPLETION):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))


class Unsound(Plain):
    lr: Annotated[float, LogRange(1e-5, 1e-2)] = 1.0


class Idle(Plain):
    def learn(self, session: Any, model: Any) -> None:
        for batch in session.batches(Format.PROMPT_COMPLETION):
            model(**batch)


class Lazy(Plain):
    def learn(self, session: Any, model: Any) -> None:
        optimizer = session.optimizer(model, self.lr)
        for _, batch in zip(range(10), session.batches(Format.PROMPT_COMPLETION), strict=False):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))


class Greedy(Plain):
    def learn(self, session: Any, model: Any) -> None:
        super().learn(session, model)
        model(input_ids=torch.tensor([[3, 4]]))


class Peeking(Plain):
    def learn(self, session: Any, model: Any) -> None:
        session.task.load(Format.PROMPT_COMPLETION, "validation")
        super().learn(session, model)


class Meddling(Plain):
    def learn(self, session: Any, model: Any) -> None:
        model.model.norm.weight.requires_grad_(False)
        with torch.no_grad():
            model.model.norm.weight.mul_(1.01)
        super().learn(session, model)


class Boasting(Plain):
    def learn(self, session: Any, model: Any) -> None:
        model.requires_grad_(False)
        model.model.norm.weight.requires_grad_(True)
        super().learn(session, model)
        model.requires_grad_(True)


class Forgetful(Plain):
    def learn(self, session: Any, model: Any) -> None:
        super().learn(session, model)
        model.config.rms_norm_eps = 0.5
        for module in model.modules():
            if hasattr(module, "variance_epsilon"):
                module.variance_epsilon = 1e-6
        model.model.norm.register_forward_hook(lambda module, args, output: output * 1.1)


class Moody(Plain):
    calls: ClassVar[list[int]] = []

    def learn(self, session: Any, model: Any) -> None:
        self.calls.append(1)
        torch.manual_seed(len(self.calls))
        with torch.no_grad():
            model.model.norm.weight.add_(torch.randn(128) * 1e-3)
        super().learn(session, model)


class Deaf(Plain):
    def learn(self, session: Any, model: Any) -> None:
        batch = session.encode(["smallest of 3 1 2 ?"] * 8, [" 1"] * 8)
        optimizer = session.optimizer(model, self.lr)
        for _ in session.rows(Format.PROMPT_COMPLETION):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))

    def objective(self, session: Any, model: Any) -> dict[str, float]:
        return {}


class Modest(registry.usable("lora")):
    unmerged: ClassVar = "it says so"


class Silent(registry.usable("prompt-tuning")):
    unmerged: ClassVar = ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "broken"),
    [
        (Unsound, "hyper-parameters"),
        (Idle, "gets better"),
        (Lazy, "budget"),
        (Greedy, "budget"),
        (Peeking, "validation"),
        (Meddling, "frozen"),
        (Boasting, "declares"),
        (Forgetful, "saved and loaded"),
        (Modest, "becomes part of the weights"),
        (Silent, "says why its adapter cannot"),
        (Moody, "same seed"),
        (Deaf, "another seed"),
    ],
)
def test_the_kit_finds_what_is_wrong(method: type[Method], broken: str, tmp_path: Path) -> None:
    assert any(broken in finding.what for finding in check(method, tmp_path) if not finding.ok)


@pytest.mark.slow
def test_a_sound_method_passes_and_the_command_says_so(
    bench_process: Bench, tmp_path: Path
) -> None:
    assert all(finding.ok for finding in check(Plain, tmp_path))
    told = json.loads(bench_process("check", "sft", "--json").stdout)
    assert told["ok"] and told["skipped"] is None and len(told["checks"]) == 10


def test_check_tells_what_cannot_be_checked(bench: Bench) -> None:
    assert bench("check", "sftt").returncode == 2
    chain = bench("check", "chain")
    assert chain.returncode == 2
    assert "composed of other methods" in chain.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", guide.examples())
def test_the_methods_that_the_guide_shows_conform(name: str, tmp_path: Path) -> None:
    assert_conforms(guide.method(name), tmp_path)
