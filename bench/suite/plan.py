"""From a suite to its runs. The id of a run is a hash of all that determines its outcome."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.formats import Format
from bench.data.order import evenly_spaced
from bench.data.tasks import Task
from bench.methods.composition import origins
from bench.methods.entry import Resolved, resolve
from bench.methods.optimizer import PLAIN
from bench.models.spec import fingerprint
from bench.records.schema import BASE, Purpose, Record
from bench.suite.schema import TRANSFORMERS, Suite
from bench.suite.search import best_on_validation, draws, ranges

MEANING = 1  # of what enters ids: raised when runs of before and after must not be compared


@dataclass(frozen=True, slots=True)
class Run:
    """One recipe and one seed in one suite. The base, which is evaluated once, is the run without a
    method.
    """

    id: str
    recipe: str
    method: str | None
    parameters: dict[str, Any]
    origin: str
    seed: int
    setting: str
    """Comparison key: a hash of model, data, budget, batch, precision, split and kind of device,
    which rows must share to be compared.
    """
    fingerprints: dict[str, Any]
    """Of the model, of each task's data and of the drift text."""
    split: str
    """What it is scored on."""
    purpose: Purpose = Purpose.ROW
    share: float = 1.0
    """How much of the suite's budget it may spend."""
    trial: int | None = None
    """Number of its draw: its own, or of the one that gave it its hyper-parameters."""
    drawn: dict[str, Any] | None = None
    """The hyper-parameters that were drawn, by dotted name."""
    tuned_from: str | None = None
    """The recipe whose trials gave it its hyper-parameters."""


def tasks(suite: Suite, names: list[str]) -> list[Task]:
    return [suite.task(name) for name in names]


def make_plan(suite: Suite, device: str, done: Sequence[Record] = ()) -> list[Run]:
    """All runs that can be named by now.

    The base comes first, then every method with its first seed, then with the next, so that the
    table is whole early. Then come the trials. Tuned rows can be named when their trials are among
    the records `done`.
    """
    planner = _Planner(suite, device)
    trials = list(planner.trials())
    runs = [planner.base(), *planner.rows(), *trials, *planner.tuned(trials, done)]
    first: dict[str, Run] = {}
    for run in runs:  # two draws may be the same
        first.setdefault(run.id, run)
    return list(first.values())


def runs_to_come(suite: Suite, planned: Sequence[Run]) -> int:
    """How many runs get their names only from the trials: the tuned rows."""
    recipes = {run.recipe for run in planned if run.purpose is Purpose.TRIAL}
    known = sum(run.tuned_from is not None for run in planned)
    return len(recipes) * len(suite.seeds) * (1 + len(suite.curve)) - known


@dataclass(frozen=True)
class _Row:
    """A row of the table: a recipe under its label."""

    label: str
    recipe: Resolved
    trial: int | None = None
    drawn: dict[str, Any] | None = None
    tuned_from: str | None = None


class _Planner:
    def __init__(self, suite: Suite, device: str) -> None:
        self._suite = suite
        self._setting = _setting(suite, device)
        self._listed = [_Row(method.label, method.recipe) for method in suite.methods]

    def base(self) -> Run:
        setting = _Shared.of(self._setting)
        text = _json([{**self._setting, "budget": None}, None, {}, "", 0])
        name = f"{BASE}-s0-{_hash(text)}"
        return _run(name, setting, recipe=BASE, method=None, parameters={}, origin="", seed=0)

    def rows(self) -> Iterator[Run]:
        """The recipes as the suite lists them; without those that the search alone is to show."""
        search = self._suite.tuning
        tuned_only = search is not None and not search.defaults
        return self._rows(
            [row for row in self._listed if not (tuned_only and any(ranges(row.recipe)))]
        )

    def trials(self) -> Iterator[Run]:
        """Trials have a seed that no row has: what is chosen must not owe it to a seed that is
        tested.
        """
        if (search := self._suite.tuning) is None:
            return
        setting = _Shared.of({**self._setting, "split": "validation", "share": search.share})
        seed = max(self._suite.seeds) + 1
        drawn = [(row, draws(row.recipe, search.trials, search.seed)) for row in self._listed]
        for trial in range(search.trials):
            for row, found in drawn:
                if found:
                    recipe = resolve(row.recipe.name, found[trial].parameters)
                    tried = _Row(row.label, recipe, trial, found[trial].drawn)
                    yield from _runs([tried], [seed], setting, Purpose.TRIAL, search.share)

    def tuned(self, trials: Sequence[Run], done: Sequence[Record]) -> Iterator[Run]:
        """The rows of those recipes whose trials are all among the records."""
        if self._suite.tuning is None:
            return
        records = {record.id: record for record in done}
        tried: dict[str, dict[str, None]] = {}
        for run in trials:
            tried.setdefault(run.recipe, {})[run.id] = None
        chosen = []
        for row in self._listed:
            own = tried.get(row.label, {}).keys()
            if not own or not own <= records.keys():
                continue
            if best := best_on_validation([records[run] for run in own]):
                recipe = resolve(row.recipe.name, best.parameters)
                tuned = tuned_label(row.label)
                chosen.append(_Row(tuned, recipe, best.trial, best.drawn, row.label))
        yield from self._rows(chosen)

    def _rows(self, rows: Sequence[_Row]) -> Iterator[Run]:
        seeds = self._suite.seeds
        yield from _runs(rows, seeds, _Shared.of(self._setting), Purpose.ROW, 1.0)
        for share in self._suite.curve:
            setting = _Shared.of({**self._setting, "share": share})
            yield from _runs(rows, seeds, setting, Purpose.CURVE, share)


@dataclass(frozen=True)
class _Shared:
    """What many runs have in common, written down once: a plan may have 100,000 of them."""

    text: str
    digest: str
    fingerprints: dict[str, Any]
    split: str

    @classmethod
    def of(cls, setting: dict[str, Any]) -> _Shared:
        fingerprints = {
            "model": setting["model"],
            "tasks": dict(setting["target"] + setting["retain"] + setting.get("measure", [])),
            "drift": setting["drift"],
        }
        text = _json(setting)
        return cls(text, _hash(text), fingerprints, setting["split"])


def _runs(
    rows: Sequence[_Row], seeds: Sequence[int], setting: _Shared, purpose: Purpose, share: float
) -> Iterator[Run]:
    """Every row with the first seed, then with the next."""
    said = []
    for row in rows:
        method, parameters, origin = row.recipe.name, row.recipe.parameters, origins(row.recipe)
        text = ", ".join((setting.text, *map(_json, (method, parameters, origin))))
        said.append((_file_name(row.label), text, method, parameters, origin))
    for seed in seeds:
        for row, (name, text, method, parameters, origin) in zip(rows, said, strict=True):
            digest = _hash(f"[{text}, {seed}]")  # the JSON of all five as a list
            yield _run(
                f"{name}-s{seed}-{digest}",
                setting,
                recipe=row.label,
                method=method,
                parameters=parameters,
                origin=origin,
                seed=seed,
                purpose=purpose,
                share=share,
                trial=row.trial,
                drawn=row.drawn,
                tuned_from=row.tuned_from,
            )


def _run(name: str, setting: _Shared, **more: Any) -> Run:
    return Run(
        id=name,
        setting=setting.digest,
        fingerprints=setting.fingerprints,
        split=setting.split,
        **more,
    )


def tuned_label(recipe: str) -> str:
    """What the tuned row of a recipe is called."""
    return f"{recipe} (tuned)"


def _setting(suite: Suite, device: str) -> dict[str, Any]:
    named = {
        key: [(t.name, t.fingerprint) for t in tasks(suite, names)]
        for key, names in (("target", suite.target), ("retain", suite.retain))
    }
    if suite.measure:  # a key that came later must not change older ids
        named["measure"] = [(t.name, t.fingerprint) for t in tasks(suite, suite.measure)]
    return {
        "schema": MEANING,
        "model": fingerprint(suite.start()),
        **named,
        "drift": _drift_fingerprint(suite),
        "budget": suite.budget.model_dump(exclude_none=True),
        "batch": _batch(suite),
        "dtype": suite.dtype,
        "split": suite.split,
        "device": device,
        **({"attention": suite.attention} if suite.attention else {}),
        **({"compile": True} if suite.compile else {}),
        **({"engine": suite.engine} if suite.engine != TRANSFORMERS else {}),
        **({"optimizer": suite.optimizer} if suite.optimizer != PLAIN else {}),
        **({"gpus": suite.gpus} if suite.gpus > 1 else {}),
        **_chat(suite),
    }


def _batch(suite: Suite) -> dict[str, Any]:
    """What of the batch decides an outcome."""
    said = {k for k in ("group_by_length", "padding_free") if getattr(suite.batch, k)}
    return suite.batch.model_dump(include={"size", "max_length"} | said)


def _chat(suite: Suite) -> dict[str, Any]:
    """How prompts are turns of a conversation, where the suite says that they are."""
    if suite.chat is None:
        return {}
    template = suite.chat.template_text(suite.folder)
    return {"chat": {"system": suite.chat.system, "template": template}}


def _drift_fingerprint(suite: Suite) -> str | None:
    if suite.drift is None:
        return None
    file = suite.folder / suite.drift
    if file.is_file():
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return suite.task(suite.drift).fingerprint


def drift_texts(suite: Suite) -> list[str]:
    """The plain texts that drift is measured on, for a suite that names some."""
    assert suite.drift is not None
    file = suite.folder / suite.drift
    if file.is_file():
        return [
            line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
    task = suite.task(suite.drift)
    texts = task.load(Format.LANGUAGE_MODELING, "validation")["text"]
    return [texts[i] for i in evenly_spaced(task.items or len(texts), len(texts))]


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _file_name(label: str) -> str:
    """The label with a dash for everything that a file name may not hold."""
    return "".join(c if c.isalnum() or c in "._+-" else "-" for c in label)


def work_folder(cache: Path, suite: Suite, run: Run) -> Path:
    """Where a run keeps its artifact and its log."""
    return cache / suite.suite / run.id
