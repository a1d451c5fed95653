"""A YAML file with its line numbers, refused where it is no plain mapping of keys to values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.methods.entry import Place
from bench.system.errors import UserError, nearest
from bench.system.yaml import LOADER

MOST_NODES = 10_000  # that aliases stand for
CONTENT = {"suite": "keys such as suite: and model:", "tasks": "names to tasks"}
KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


@dataclass(frozen=True)
class Document:
    """A YAML file: its content, and where each key stands."""

    file: Path
    text: str
    root: yaml.Node
    content: dict[str, Any]

    def line(self, place: Place) -> int:
        """The line, from 1, of the deepest node on the way to a place."""
        node, line = self.root, self.root.start_mark.line + 1
        for step in place:
            if isinstance(node, yaml.SequenceNode) and step == "parts":
                continue  # the short form of a recipe is its list of parts
            found = _child(node, step)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line

    def error(self, mistakes: list[tuple[int, str]]) -> UserError:
        """Every mistake with its line."""
        return _error(self.file, self.text, mistakes)


def read(file: Path, kind: str = "suite") -> Document:
    """The document in a file of some kind; a `UserError` where it cannot be read, or is no
    mapping.
    """
    text = _text(file, kind)
    try:
        loader, root = _parsed(text)
        if root is None:
            raise UserError(f"{file} is empty")
        written: dict[int, float] = {}
        if _expanded(root, written) > MOST_NODES + len(written):
            raise UserError(f"{file} has more than {MOST_NODES:,} values in its aliases")
        if mistakes := list(_bad_keys(root)):
            raise _error(file, text, mistakes)
        content = loader.construct_document(root)
    except RecursionError:
        raise UserError(f"{file} is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"this is not YAML: {error.problem or error.context}"
        raise _error(file, text, [(mark.line + 1 if mark else 1, what)]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{file} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} is no {kind} file: it must be a mapping of {CONTENT[kind]}")
    return Document(file, text, root, content)


def _parsed(text: str) -> tuple[yaml.SafeLoader, yaml.Node | None]:
    """The root of a document, and the loader that knows it."""
    try:
        loader = LOADER(text)
        return loader, loader.get_single_node()
    except (yaml.YAMLError, ValueError, RecursionError):  # the other says better what is wrong
        loader = yaml.SafeLoader(text)
        return loader, loader.get_single_node()


def _text(file: Path, kind: str) -> str:
    if not file.is_file():
        beside = file.parent.glob("*.y*ml") if file.parent.is_dir() else ()
        raise UserError(
            f"there is no {kind} file {file}{nearest(file.name, (f.name for f in beside))}"
        )
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file} is not a text file in UTF-8") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None


def _error(file: Path, text: str, mistakes: list[tuple[int, str]]) -> UserError:
    lines = text.splitlines()
    shown = [f"{file} has {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}:"]
    for number, mistake in sorted(dict.fromkeys(mistakes)):
        shown.append(f"  line {number}: {mistake}")
        if number <= len(lines):
            shown.append(f"    {number} | {lines[number - 1].rstrip()}")
    return UserError("\n".join(shown))


def _expanded(node: yaml.Node, sizes: dict[int, float]) -> float:
    """How many nodes there are with every alias written out. Each node is visited once: a few
    lines of nested aliases can stand for billions.
    """
    if id(node) not in sizes:
        sizes[id(node)] = math.inf  # stands for an alias of itself, until all below is known
        sizes[id(node)] = 1 + sum(_expanded(child, sizes) for child in _children(node))
    return sizes[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _child(node: yaml.Node, step: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that shows where a step leads to, and the node that it leads to."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def _bad_keys(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Keys that are no strings, and keys given twice, of which YAML would take the last."""
    seen: dict[str, int] = {}
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        line = key.start_mark.line + 1
        if key.tag not in KEY_TAGS:
            yield line, "a key must be a word; put quotes around a number, a date, yes, no or null"
        elif key.value in seen:
            yield line, f"{key.value} is given a second time, after line {seen[key.value]}"
        else:
            seen[key.value] = line
    for child in _children(node):
        yield from _bad_keys(child)
