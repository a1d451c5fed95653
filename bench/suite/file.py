"""Reading a suite file: YAML with line numbers, and every mistake told with its line and the
nearest right word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from bench.data.sources import SourceSpec
from bench.data.tasks import TaskSpec, find_task
from bench.errors import UserError, nearest
from bench.methods import registry
from bench.methods.entry import mistakes
from bench.methods.method import Method
from bench.models.spec import ModelSpec
from bench.suite.plan import tuned_label
from bench.suite.schema import BatchSpec, BudgetSpec, MethodSpec, Suite, TuningSpec
from bench.suite.search import left_open

Location = tuple[int | str, ...]
MODELS: dict[str, type[BaseModel]] = {
    "budget": BudgetSpec,
    "batch": BatchSpec,
    "model": ModelSpec,
    "tuning": TuningSpec,
}


def load(file: Path) -> Suite:
    """The suite in a file; a `UserError` that lists everything wrong with it."""
    if not file.is_file():
        near = (
            nearest(file.name, (f.name for f in file.parent.glob("*.y*ml")))
            if file.parent.is_dir()
            else ""
        )
        raise UserError(f"there is no suite file {file}{near}")
    text = file.read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UserError(
            _told(
                file,
                text,
                [
                    (
                        mark.line + 1 if mark else 1,
                        f"this is not YAML: {error.problem or error.context}",
                    )
                ],
            )
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not YAML: {error}") from None
    if root is None or not isinstance(content, dict):
        raise UserError(
            f"{file} is no suite: it should be a mapping with the keys"
            f" {', '.join(Suite.model_fields)}"
        )
    problems = list(_twice(root))
    try:
        suite = Suite.model_validate(content).at(file.parent.resolve())
        problems += [(_line(root, where), what) for where, what in _beyond_schema(suite)]
    except ValidationError as error:
        problems += [(_line(root, _place(e)), _sentence(_place(e), e)) for e in error.errors()]
        raise UserError(_told(file, text, problems)) from None
    if problems:
        raise UserError(_told(file, text, problems))
    return suite


def _told(file: Path, text: str, problems: list[tuple[int, str]]) -> str:
    lines = text.splitlines()
    told = [f"{file} has {len(problems)} mistake{'s' if len(problems) > 1 else ''}:"]
    for number, problem in sorted(dict.fromkeys(problems)):
        told.append(f"  line {number}: {problem}")
        if number <= len(lines):
            told.append(f"    {number} | {lines[number - 1].rstrip()}")
    return "\n".join(told)


def _twice(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Keys that stand twice in one mapping, of which YAML would silently take the last."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                yield (
                    line,
                    f"{key.value} stands here for the second time, after line {seen[key.value]}",
                )
            seen[key.value] = line
            yield from _twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _twice(child)


def _line(node: yaml.Node, location: Location) -> int:
    """The line of the deepest node on the way to a location."""
    line = node.start_mark.line + 1
    for step in location:
        if isinstance(node, yaml.SequenceNode) and step == "parts":
            continue  # the short form of a recipe is its list of parts
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value)
        ):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _place(error: Any) -> Location:
    return tuple(error["loc"])


def _known_keys(location: Location) -> list[str]:
    """The keys that may stand where an unknown one was found."""
    match location:
        case ("tasks", _, _):
            model: type[BaseModel] = TaskSpec
        case ("tasks", _, _, _):
            model = SourceSpec
        case (str(section), _) if section in MODELS:
            model = MODELS[section]
        case _:
            model = Suite
    return [field.alias or name for name, field in model.model_fields.items()]


def _sentence(location: Location, error: Any) -> str:
    """One of pydantic's errors in our words."""
    place = ".".join(str(step) for step in location)
    last = str(location[-1]) if location else ""
    match error["type"]:
        case "extra_forbidden":
            known = _known_keys(location)
            return f"unknown key {last}{nearest(last, known)} (known here: {', '.join(known)})"
        case "missing":
            return f"the key {last} is missing"
        case "greater_than":
            return f"{place} must be more than {error['ctx']['gt']}, not {error['input']}"
        case "value_error":
            return f"{place}: {error['ctx']['error']}"
        case "string_pattern_mismatch":
            return (
                f"{place} may hold letters, digits, dots, dashes and underscores only, not"
                f" {error['input']!r}"
            )
        case _:
            return f"{place}: {error['msg'][:1].lower()}{error['msg'][1:]}, not {error['input']!r}"


def _beyond_schema(suite: Suite) -> Iterator[tuple[Location, str]]:
    """What only the installed plugins and the files on disk can tell."""
    labels: dict[str, int] = {"base": -1}
    for i, entry in enumerate(suite.methods):
        yield from _method_problems(("methods", i), entry.name, entry.parameters)
        if entry.label in labels:
            yield (
                (
                    "methods",
                    i,
                ),
                f"two rows would be called {entry.label}; give one another name with as:",
            )
        labels[entry.label] = i
    if suite.tuning:
        for i, entry in enumerate(suite.methods):
            if tuned_label(entry.label) in labels:
                yield (
                    ("methods", i),
                    (
                        f"tuning makes a row called {tuned_label(entry.label)}; give the one of"
                        " that name another with as:"
                    ),
                )
    missing = list(_missing_files(suite))
    yield from missing
    for key, names in (("target", suite.target), ("retain", suite.retain)):
        for i, name in enumerate(names):
            if not any(where[:2] == ("tasks", name) for where, _ in missing):
                yield from _task_problems((key, i), suite, name, key == "target")
    if suite.drift and suite.drift.endswith(".txt") and not (suite.folder / suite.drift).is_file():
        yield ("drift",), f"there is no text file {suite.folder / suite.drift}"
    path = suite.model.path
    if path and path.startswith((".", "/", "~")) and not (suite.folder / path).is_dir():
        yield ("model",), f"there is no model folder {suite.folder / path}"


def _method_problems(
    location: Location, name: str, parameters: Any
) -> Iterator[tuple[Location, str]]:
    try:
        kind = registry.find(name).method
    except UserError as error:
        yield location, str(error)
        return
    for where, what in (
        mistakes(name, kind, parameters) if kind else ()
    ):  # a broken plugin becomes a row that says so
        yield (*location, name, *where), what


def _missing_files(suite: Suite) -> Iterator[tuple[Location, str]]:
    for name, spec in suite.tasks.items():
        for format, source in spec.sources().items():
            for file in source.files(suite.folder):
                if not file.is_file():
                    yield (
                        (
                            "tasks",
                            name,
                            format.value,
                            "data_files",
                        ),
                        f"there is no data file {file}",
                    )
        if (
            spec.evaluate
            and spec.evaluate.endswith((".yaml", ".yml"))
            and not (suite.folder / spec.evaluate).is_file()
        ):
            yield (
                (
                    "tasks",
                    name,
                    "evaluate",
                ),
                f"there is no lm-eval task file {suite.folder / spec.evaluate}",
            )


def _task_problems(
    location: Location, suite: Suite, name: str, trains: bool
) -> Iterator[tuple[Location, str]]:
    try:
        task = find_task(name, suite.tasks, suite.folder)
    except UserError as error:
        yield location, str(error)
        return
    if trains and not task.formats:
        yield (
            location,
            (
                f"{name} has no training data: declare it under"
                f" tasks{nearest(name, _task_names(suite))}"
            ),
        )
    if task.evaluation is None:
        yield location, f"{name} has no evaluation: give its task an lm-eval task under evaluate"
    elif (
        trains
        and suite.tuning
        and not (isinstance(task.evaluation, dict) and task.evaluation.get("validation_split"))
    ):
        yield (
            location,
            (
                f"tuning chooses on validation data, and the lm-eval task of {name} names no"
                " validation_split"
            ),
        )


def _task_names(suite: Suite) -> list[str]:
    from bench.tiny.tasks import names

    return [*suite.tasks, *names()]


def resolved(suite: Suite) -> str:
    """The suite as YAML with nothing left to defaults; what tuning is to draw stays open."""
    content = suite.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"methods"})
    content["methods"] = [
        {entry.name: _all_parameters(entry, suite), "as": entry.label} for entry in suite.methods
    ]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _all_parameters(entry: MethodSpec, suite: Suite) -> Any:
    method: type[Method] | None = registry.find(entry.name).method
    if method is None:
        return entry.parameters
    whole = method.model_validate(entry.parameters).model_dump(mode="json")
    return left_open(entry.name, entry.parameters, whole) if suite.tuning else whole
