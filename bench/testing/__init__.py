"""The conformance kit: what every method must do, tried on the tiny world. Behind `bench check`,
and one import for an author's tests:

from bench.testing import assert_conforms

def test_my_method(tmp_path):
    assert_conforms(MyMethod, tmp_path)
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from bench.methods.artifact import own_form, save_result
from bench.methods.method import Merger, Method, Weights
from bench.methods.objective import measured
from bench.methods.recipe import unmerged
from bench.methods.search_space import LogRange, hyperparameters
from bench.models.artifact import CannotMerge, merge_adapter, open_artifact
from bench.models.load import load_model
from bench.models.spec import ModelSpec
from bench.models.start import Start
from bench.system.errors import Skipped
from bench.testing.finding import Finding, sound_hyperparameters
from bench.testing.trials import (
    CPU,
    Trial,
    changed_frozen,
    falls,
    fingerprint,
    half_trained,
    logits,
    runnable_start,
    tiny_session,
    trial,
)

__all__ = ["Finding", "assert_conforms", "check", "check_merger", "tiny_session"]

TOKENS = 6000.0
SHORT = 0.25  # of these, where only seeds are compared
SLACK = 1.25  # one batch may overrun a budget as small as this
# of the largest logit: a hundred roundings of float32, as where what a network makes is saved in
# place of the network, or becomes part of the weights
CLOSE = 1e-5
SEED, OTHER_SEED = 1, 2


def assert_conforms(method: type[Method], folder: Path) -> None:
    """Fail with the lines of the checklist that the method does not meet."""
    if wrong := [f"{f.what}: {f.detail}" for f in check(method, folder) if not f.ok]:
        raise AssertionError(f"{method.__name__} does not conform:\n" + "\n".join(wrong))


def check(kind: type[Method], folder: Path) -> Iterator[Finding]:
    """Every line of the checklist as soon as it is known; `Skipped` where the method cannot run in
    the tiny world.
    """
    yield (sound := sound_hyperparameters(kind))
    if not sound.ok and any(h.required for h in hyperparameters(kind)):
        return
    method = kind()
    start = runnable_start(method, folder)
    if isinstance(start, str):
        raise Skipped(start)
    untouched = fingerprint(load_model(start, torch.float32, CPU))
    done, how, attempt = _learning(_attempts(kind, start), folder)
    yield how
    yield _budget(done, bool(method.formats))
    if done.model is None:
        return
    opened = _reopened(done, folder / "artifact")
    yield _data(done)
    yield _frozen(done, opened)
    yield _counts(done)
    yield _reload(done, opened)
    if isinstance(opened, PeftModel):
        yield _merge(done, opened, unmerged(method))
    yield from _seeds(attempt, done.said, folder)
    same = fingerprint(load_model(start, torch.float32, CPU)) == untouched
    what = "the start model is as it was for the next run"
    yield Finding(what, same, "" if same else "its files have changed")


def check_merger(kind: type[Merger]) -> Iterator[Finding]:
    """The checklist of a merger, on small random weights."""
    yield sound_hyperparameters(kind)
    given = [{name: torch.randn(4, 3) for name in ("a", "b")} for _ in range(3)]
    start, one, other = deepcopy(given)
    made, again = (kind().merge(start, [one, other]) for _ in range(2))
    alike = made.keys() == start.keys() and all(
        t.shape == start[n].shape and bool(t.isfinite().all()) for n, t in made.items()
    )
    yield Finding("gives a finite tensor of the same shape for each name", alike)
    kept = all(map(_equal, given, (start, one, other)))
    yield Finding("leaves the weights that it is given as they are", kept)
    yield Finding("gives the same result twice", _equal(made, again))
    yield Finding("the parts decide", not _equal(made, start))


def _equal(one: Weights, other: Weights) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@dataclass(frozen=True)
class Attempt:
    """One way of showing that a method learns."""

    method: Method
    start: ModelSpec
    tokens: float
    note: str = ""

    def made(self, folder: Path, seed: int) -> Trial:
        return trial(self.method, folder, self.start, self.tokens, seed)


def _learning(attempts: Iterator[Attempt], folder: Path) -> tuple[Trial, Finding, Attempt]:
    """Train until one attempt shows that the method learns, or none is left."""
    what = "trains, and gets better at what it optimises"
    tried: list[str] = []
    last: tuple[Trial, Attempt] | None = None
    for number, attempt in enumerate(attempts):
        try:
            done = attempt.made(folder / f"learning-{number}", SEED)
        except Skipped as reason:
            tried.append(f"{reason}{attempt.note}")
            continue
        better, told = _better(attempt, done)
        if better or done.overran:
            return done, Finding(what, better, told + attempt.note), attempt
        last = done, attempt
        tried.append(told + attempt.note)
    if last is None:
        raise Skipped("; ".join(tried))
    return last[0], Finding(what, False, "; ".join(tried)), last[1]


def _attempts(kind: type[Method], start: ModelSpec) -> Iterator[Attempt]:
    """At the default learning rate first; then, as defaults are made for large models, higher in
    its range and from one that knows more.
    """
    yield Attempt(kind(), start, TOKENS)
    more = half_trained() if start.path == "tiny" else start
    yield Attempt(kind(), more, TOKENS, " from a half-trained start")
    found = next(
        (h for h in hyperparameters(kind) if h.name == "lr" and isinstance(h.range, LogRange)), None
    )
    if found is not None and isinstance(found.range, LogRange):
        some, most = (
            kind.model_validate({"lr": min(found.range.high, found.default * factor)})
            for factor in (30, 300)
        )
        note = " at {} times the default learning rate"
        yield Attempt(some, start, TOKENS, note.format(30))
        yield Attempt(most, more, 5 * TOKENS, note.format(300) + " from a half-trained start")


def _better(attempt: Attempt, done: Trial) -> tuple[bool, str]:
    """Its own objective if it has one, else its training loss; a method that learns from no data
    has only to give a model.
    """
    if done.model is None:
        return False, "was stopped"
    method = attempt.method
    name, direction = method.goal
    before, after = (
        look.get("values", {}).get(name)
        for look in measured(method, done.closely, Start(attempt.start), done.model)
    )
    if before is not None and after is not None:
        better = after < before if direction == "lower" else after > before
        return better, f"{name} {before:.4g} → {after:.4g}"
    if not method.formats:
        return True, "learns from no data"
    losses = done.session.log.losses
    return falls(losses), (
        f"loss {losses[0]:.4g} → {losses[-1]:.4g}" if losses else "no loss was told"
    )


def _budget(done: Trial, learns: bool) -> Finding:
    what = "keeps to its budget, and spends it"
    if done.overran:
        return Finding(what, False, done.overran)
    fine = done.spent <= SLACK and (done.spent >= 1 / SLACK or not learns)
    budget = done.session.budget
    told = f"{100 * done.spent:.0f}% of {budget.amount:,.0f} {budget.currency}"
    return Finding(what, fine, told)


def _data(done: Trial) -> Finding:
    seen = sorted(f"{format} ({split})" for format, split in done.asked if split != "train")
    return Finding("never sees validation or test data", not seen, ", ".join(seen))


def _frozen(done: Trial, opened: Any) -> Finding:
    count, changed = changed_frozen(done, opened)
    told = f"{', '.join(changed[:3])} changed" if changed else f"{count} tensors"
    return Finding("what it declares frozen is bit for bit as it was", not changed, told)


def _counts(done: Trial) -> Finding:
    """Only what requires a gradient at the end was trained, and all of it."""
    declared = {
        id(p): (name, p.numel()) for name, p in done.model.named_parameters() if p.requires_grad
    }
    inside = {id(p) for p in done.model.parameters()} & done.stepped.keys()
    what = "trains the parameters that it declares"
    told = f"{sum(n for _, n in declared.values()):,} trainable"
    if not inside:
        return Finding(what, True, told + ", put together from what was trained")
    idle = [name for key, (name, _) in declared.items() if key not in inside]
    extra = len(inside - declared.keys())
    if extra:
        told += f"; {extra} tensors were trained that are declared frozen"
    if idle:
        told += f"; no gradient ever reached {', '.join(idle[:3])}"
    return Finding(what, not idle and not extra, told)


def _reopened(done: Trial, artifact: Path) -> Any:
    known = ModelSpec(path="tiny")
    save_result(done.session, done.model, artifact, known)
    method = done.session.made_by[1]
    return open_artifact(artifact, known, torch.float32, CPU, lambda _: own_form(method))


def _reload(done: Trial, opened: Any) -> Finding:
    off = float((done.said - logits(opened, done.session)).abs().max() / done.said.abs().max())
    what = "what is saved and loaded gives the same logits"
    return Finding(what, off <= CLOSE, f"largest difference {off:.1g} of the largest logit")


def _merge(done: Trial, opened: PeftModel, unmerged: str) -> Finding:
    """That an adapter becomes part of the weights, or that its method says why it cannot."""
    try:
        merged = merge_adapter(opened)
    except CannotMerge as error:
        what = "says why its adapter cannot become part of the weights"
        return Finding(what, bool(unmerged), unmerged or f"declare unmerged: {error}")
    off = float((done.said - logits(merged, done.session)).abs().max() / done.said.abs().max())
    what = "its adapter becomes part of the weights, with the same logits"
    told = f"declares that it cannot: {unmerged}" if unmerged else f"largest difference {off:.1g}"
    return Finding(what, not unmerged and off <= CLOSE, told)


def _seeds(attempt: Attempt, said: torch.Tensor, folder: Path) -> Iterator[Finding]:
    """Short trainings with one seed and another. Where another seed changes nothing in a short one,
    as where a reward model comes first, they are as long as the attempt, which said `said`.
    """
    short = replace(attempt, tokens=SHORT * TOKENS)
    first = short.made(folder / "seeds-first", SEED).said
    same, differs = _repeats(short, first, folder / "seeds")
    if not differs and attempt.method.formats:
        again, differs = _repeats(attempt, said, folder / "seeds-long")
        same = same and again
    yield Finding("the same seed gives the same result", same)
    if attempt.method.formats:
        yield Finding("another seed gives another result", differs)


def _repeats(attempt: Attempt, said: torch.Tensor, folder: Path) -> tuple[bool, bool]:
    """Whether the same seed says the same once more, and another seed something else."""
    again, other = (
        attempt.made(folder / name, seed).said
        for name, seed in (("again", SEED), ("other", OTHER_SEED))
    )
    return torch.equal(said, again), not torch.equal(said, other)
