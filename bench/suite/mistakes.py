"""What is wrong with a suite, each mistake with its place and the nearest right word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.data.chat import ChatSpec
from bench.data.folders import absolute
from bench.data.formats import Format
from bench.data.lm_eval_yaml import NoFile
from bench.data.sources import SourceSpec
from bench.data.tasks import TaskSpec, prefixes
from bench.methods.entry import Mistakes, Place
from bench.methods.optimizer import PLAIN
from bench.models import compiled, gguf, quantized
from bench.models.judge import judge_problem
from bench.models.load import attention_obstacle
from bench.models.spec import ModelSpec
from bench.suite.keys import BatchSpec, BudgetSpec, TuningSpec
from bench.suite.plan import tuned_label
from bench.suite.schema import TRANSFORMERS, Suite
from bench.suite.search import ranges
from bench.system.errors import UserError, nearest

DATA_FILES = (".json", ".jsonl", ".csv", ".tsv", ".parquet")
Found = Iterator[tuple[Place, str]]
SECTIONS: dict[str, type[BaseModel]] = {
    "budget": BudgetSpec,
    "batch": BatchSpec,
    "chat": ChatSpec,
    "model": ModelSpec,
    "tuning": TuningSpec,
}


def in_schema(error: ValidationError) -> Found:
    """Each of pydantic's errors in our words."""
    for one in error.errors():
        yield one["loc"], _sentence(one["loc"], one)


def beyond_schema(suite: Suite) -> Found:
    """Mistakes that need the installed plugins and the files on disk to be seen."""
    yield from _methods(suite)
    yield from _labels(suite)
    if reason := attention_obstacle(suite.attention):
        yield ("attention",), reason
    if suite.compile and (reason := compiled.obstacle()):
        yield ("compile",), reason
    if suite.model.quantize and (reason := quantized.missing("quantize")):
        yield ("model",), reason
    yield from _engine(suite)
    if suite.optimizer != PLAIN and (reason := quantized.missing(suite.optimizer)):
        yield ("optimizer",), reason
    missing = list(_missing_files(suite))
    yield from missing
    for what in _drift(suite):
        yield ("drift",), what
    yield from _twice(suite)
    incomplete = {place[1] for place, _ in missing if place[0] == "tasks"}
    for key, names in (
        ("target", suite.target),
        ("retain", suite.retain),
        ("measure", suite.measure),
    ):
        for i, name in enumerate(names):
            if name not in incomplete:
                for what in _task(suite, name, key == "target"):
                    yield (key, i), what


def _twice(suite: Suite) -> Found:
    """Tasks that would count as learned and as forgotten, or more than once in the mean."""
    for i, name in enumerate(suite.retain):
        if name in suite.target:
            yield ("retain", i), f"{name} is a target: it cannot be under retain, too"
        if name in suite.retain[:i]:
            yield ("retain", i), f"{name} stands twice under retain"


def _engine(suite: Suite) -> Found:
    if suite.engine == TRANSFORMERS:
        return
    from bench.evaluation.vllm_server import missing

    if reason := missing():
        yield ("engine",), reason


def _known_keys(place: Place) -> list[str]:
    """The keys that may stand where an unknown one was found."""
    match place:
        case ("tasks", _, _):
            model: type[BaseModel] = TaskSpec
        case ("tasks", _, _, _):
            model = SourceSpec
        case (str(section), _) if section in SECTIONS:
            model = SECTIONS[section]
        case _:
            model = Suite
    return [f.alias or name for name, f in model.model_fields.items() if not f.exclude]


def _sentence(place: Place, error: Any) -> str:
    name = ".".join(str(step) for step in place)
    last = str(place[-1]) if place else ""
    match error["type"]:
        case "extra_forbidden":
            known = _known_keys(place)
            return f"unknown key {last}{nearest(last, known)} (known here: {', '.join(known)})"
        case "missing":
            return f"the key {last} is missing"
        case "greater_than":
            return f"{name} must be more than {error['ctx']['gt']}, not {error['input']}"
        case "value_error":
            return f"{name}: {error['ctx']['error']}"
        case "string_pattern_mismatch":
            return (
                f"{name} may hold letters, digits, dots, dashes and underscores only, not"
                f" {error['input']!r}"
            )
        case _:
            return f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]}, not {error['input']!r}"


def _methods(suite: Suite) -> Found:
    for i, method in enumerate(suite.methods):
        try:
            recipe = method.recipe
        except Mistakes as mistakes:
            for place, what in mistakes.found:
                yield ("methods", i, method.name, *place), what
            continue
        for place, h in ranges(recipe):
            if h.narrowed and suite.tuning is None:
                what = f"{h.name} is a range to search, which needs tuning: in the suite"
                yield ("methods", i, method.name, *place), what


def _labels(suite: Suite) -> Found:
    labels = {"base"}
    for i, method in enumerate(suite.methods):
        if method.label in labels:
            what = f"two rows would be called {method.label}; give one another name with as:"
            yield ("methods", i), what
        labels.add(method.label)
    for i, method in enumerate(suite.methods if suite.tuning else ()):
        if (tuned := tuned_label(method.label)) in labels:
            what = f"tuning makes a row called {tuned}; give the other one another name with as:"
            yield ("methods", i), what


def _missing_files(suite: Suite) -> Found:
    here = suite.folder
    for name, spec in suite.tasks.items():
        for format, source in spec.sources().items():
            origin = source.origin(here)
            for file in origin.all_files():
                if not file.is_file():
                    place = ("tasks", name, format.value, "data_files")
                    yield place, f"there is no data file {file}{_where_from(here)}"
            if origin.below is not None and not origin.below.is_dir():
                place = ("tasks", name, format.value, "data_dir" if source.data_dir else "path")
                yield place, f"there is no data folder {origin.below}{_where_from(here)}"
        for what in _reward(spec, here):
            yield ("tasks", name, "reward"), what
        file = spec.evaluate or ""
        if file.endswith((".yaml", ".yml")) and not (here / file).is_file():
            yield ("tasks", name, "evaluate"), f"there is no lm-eval task file {here / file}"
    if suite.chat and suite.chat.template and not (here / suite.chat.template).is_file():
        yield ("chat",), f"there is no template file {here / suite.chat.template}"
    path = suite.model.path or ""
    folder = absolute(path, here)
    try:
        for name in suite.model.gguf_names:
            gguf.find(name, here)
    except UserError as error:
        yield ("model",), str(error)
        return
    if not gguf.is_gguf(path) and path.startswith((".", "/", "~")) and not folder.is_dir():
        yield ("model",), f"there is no model folder {folder}"


def _drift(suite: Suite) -> Iterator[str]:
    """What is wrong with the text on which drift is measured."""
    name = suite.drift
    if name is None or (name in suite.tasks and suite.tasks[name].language_modeling):
        return
    file = suite.folder / name
    if file.suffix in DATA_FILES:
        yield (
            f"drift reads a text file line by line, which {name} is not: declare a task with it as"
            " language-modeling data, and name the task"
        )
    elif file.is_file():
        try:
            if not file.read_text(encoding="utf-8").strip():
                yield f"there is no text in {file}"
        except UnicodeDecodeError:
            yield f"{file} is not a text file in UTF-8"
    elif name.endswith(".txt"):
        yield f"there is no text file {file}"
    else:
        try:
            if Format.LANGUAGE_MODELING not in suite.task(name).formats:
                yield f"drift is measured on plain text, and {name} has no language-modeling data"
        except UserError as error:
            yield str(error)


def _reward(spec: TaskSpec, here: Path) -> Iterator[str]:
    """What is wrong with a task's reward, as far as it shows before anything is trained."""
    reward = spec.reward_of(here)
    if (what := reward.problem()) is not None:
        yield what
    for term in reward.terms:
        if term.model is not None and (what := judge_problem(term.model, term.judge(here))):
            yield f"reward {what}"


def _where_from(folder: Path) -> str:
    """A hint at the page that may say where data files come from."""
    page = folder / "README.md"
    return f"; {page} says where to get it" if page.is_file() else ""


def _task(suite: Suite, name: str, trains: bool) -> Iterator[str]:
    try:
        task = suite.task(name)
    except NoFile as error:
        yield f"{error}{_where_from(suite.folder)}"
        return
    except UserError as error:
        yield str(error)
        return
    if trains and not task.formats:
        offered = [f"{prefix}/{name.rpartition('/')[2]}" for prefix in prefixes()]
        hint = nearest(name, [*suite.tasks, *offered])
        yield f"{name} has no training data: declare it under tasks{hint}"
    if task.evaluation is None:
        yield f"{name} has no evaluation: give its task an lm-eval task under evaluate"
    elif trains and suite.tuning and (what := _lacks_validation(task.evaluation)):
        yield f"tuning chooses on validation data, and the lm-eval task of {name} {what}"


def _lacks_validation(evaluation: str | dict[str, Any]) -> str | None:
    """Of lm-eval's own tasks, which are named, the look at the data tells."""
    if not isinstance(evaluation, dict):
        return None
    if not (validation := evaluation.get("validation_split")):
        return "names no validation_split"
    if evaluation.get("test_split") in (None, validation):
        return f"is tested on {validation}, too: give it a test_split that is another one"
    return None
