"""Tasks and their data: loading, shaping into formats, deterministic order."""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .errors import UserError
from .method import Format

if TYPE_CHECKING:
    from datasets import Dataset

Split = Literal["train", "validation"]
COLUMNS: dict[Format, tuple[str, ...]] = {
    Format.LANGUAGE_MODELING: ("text",),
    Format.PROMPT_COMPLETION: ("prompt", "completion"),
    Format.INSTRUCTION: ("prompt", "completion"),
    Format.PREFERENCE: ("prompt", "chosen", "rejected"),
    Format.UNPAIRED_PREFERENCE: ("prompt", "completion", "label"),
    Format.PROMPT_ONLY: ("prompt", "answer"),
    Format.RANKING: ("prompt", "completions", "scores"),
}


class SourceSpec(BaseModel):
    """Training data of one format: anything that `datasets.load_dataset` reads, and how its columns become ours.

    Keys named after columns of the format (prompt, completion, text, …) are templates such as "{text} It was".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="a dataset on the hub, a folder, or a loader: json, csv, parquet, text")
    name: str | None = Field(default=None, description="configuration of the dataset")
    revision: str | None = None
    data_dir: str | None = None
    data_files: str | list[str] | dict[str, str | list[str]] | None = Field(default=None, description="files, relative to the suite file")
    split: str = Field(default="train", description="the split to train on")
    validation_split: str = Field(default="validation", description="the split to select on")
    prompt: str | None = None
    completion: str | None = None
    text: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    answer: str | None = None
    label: str | None = Field(default=None, description="column with true or false")
    completions: str | None = Field(default=None, description="column with lists of completions")
    scores: str | None = Field(default=None, description="column with lists of scores")

    def files(self, folder: Path) -> list[Path]:
        """The local data files, which need not exist."""
        given = self.data_files or []
        groups = list(given.values()) if isinstance(given, dict) else [given]
        names = [name for group in groups for name in ([group] if isinstance(group, str) else group)]
        return [folder / name for name in names if "://" not in name]


class TaskSpec(BaseModel):
    """A task of one's own: training data in one or more formats, and how to evaluate it."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    language_modeling: SourceSpec | None = Field(default=None, alias="language-modeling")
    prompt_completion: SourceSpec | None = Field(default=None, alias="prompt-completion")
    instruction: SourceSpec | None = None
    preference: SourceSpec | None = None
    unpaired_preference: SourceSpec | None = Field(default=None, alias="unpaired-preference")
    prompt_only: SourceSpec | None = Field(default=None, alias="prompt-only")
    ranking: SourceSpec | None = None
    evaluate: str | None = Field(default=None, description="an lm-eval task: its name, or a YAML file relative to the suite file")

    def sources(self) -> dict[Format, SourceSpec]:
        found = {f: getattr(self, f.value.replace("-", "_")) for f in Format}
        return {f: source for f, source in found.items() if source is not None}


@dataclass(frozen=True)
class Task:
    """Training data in one or more formats, plus how to evaluate it. Data is loaded when asked for."""

    name: str
    loaders: Mapping[Format, Callable[[Split], Dataset]] = field(repr=False)
    evaluation: str | dict[str, Any] | None = field(repr=False)
    """An lm-eval task: a built-in name, or the content of its YAML."""
    fingerprint: str

    @property
    def formats(self) -> frozenset[Format]:
        return frozenset(self.loaders)

    def load(self, format: Format, split: Split) -> Dataset:
        if format not in self.loaders:
            raise UserError(f"task {self.name} has no {format} data; it offers {', '.join(sorted(self.loaders)) or 'none'}")
        return self.loaders[format](split)


def find_task(name: str, declared: Mapping[str, TaskSpec], folder: Path) -> Task:
    """A task declared in the suite, one of tiny's, or an lm-eval task by its name (which can be evaluated only)."""
    if name in declared:
        return _declared(name, declared[name], folder)
    if name.startswith("tiny/"):
        from .tiny.tasks import tiny_task

        return tiny_task(name)
    return Task(name, {}, name, name)


def _declared(name: str, spec: TaskSpec, folder: Path) -> Task:
    digest = hashlib.sha256(spec.model_dump_json().encode())
    for source in spec.sources().values():
        for file in source.files(folder):
            if not file.is_file():
                raise UserError(f"task {name}: there is no data file {file}")
            digest.update(file.read_bytes())
    evaluation: str | dict[str, Any] | None = spec.evaluate
    if spec.evaluate is not None and spec.evaluate.endswith((".yaml", ".yml")):
        evaluation = read_lm_eval_yaml(folder / spec.evaluate)
        digest.update(json.dumps(evaluation, sort_keys=True, default=str).encode())
    loaders = {f: _loader(name, f, source, folder) for f, source in spec.sources().items()}
    return Task(name, loaders, evaluation, digest.hexdigest()[:16])


def read_lm_eval_yaml(file: Path) -> dict[str, Any]:
    """An lm-eval task file, its own relative data files resolved against its folder."""
    if not file.is_file():
        raise UserError(f"there is no lm-eval task file {file}")
    from lm_eval.tasks._yaml_loader import load_yaml  # its public doors would read relative files from the working folder

    config = dict(load_yaml(file))
    files = (config.get("dataset_kwargs") or {}).get("data_files")
    if isinstance(files, dict):
        located = {split: str((file.parent / path).resolve()) for split, path in files.items()}
        for path in located.values():
            if not Path(path).is_file():
                raise UserError(f"{file}: there is no data file {path}")
        config["dataset_kwargs"] = {**config["dataset_kwargs"], "data_files": located}
    return config


def _loader(task: str, format: Format, source: SourceSpec, folder: Path) -> Callable[[Split], Dataset]:
    def load(split: Split) -> Dataset:
        import datasets

        datasets.disable_progress_bars()
        given = source.data_files
        located = _located(given, folder) if given is not None else None
        data = datasets.load_dataset(
            source.path,
            name=source.name,
            revision=source.revision,
            data_dir=source.data_dir,
            data_files=located,
            split=source.split if split == "train" else source.validation_split,
        )
        assert isinstance(data, datasets.Dataset)
        return data.map(
            lambda row: _shaped(row, task, format, source),
            remove_columns=data.column_names,
            load_from_cache_file=False,
            keep_in_memory=True,
        )

    return load


def _located(files: str | list[str] | dict[str, str | list[str]], folder: Path) -> Any:
    if isinstance(files, dict):
        return {split: _located(group, folder) for split, group in files.items()}
    if isinstance(files, list):
        return [_located(name, folder) for name in files]
    return files if "://" in files else str((folder / files).resolve())


def _shaped(row: dict[str, Any], task: str, format: Format, source: SourceSpec) -> dict[str, Any]:
    shaped = {}
    for column in COLUMNS[format]:
        template = getattr(source, column)
        try:
            if column in ("completions", "scores", "label"):
                shaped[column] = row[template or column]
            else:
                shaped[column] = row[column] if template is None else string.Formatter().vformat(template, (), row)
        except KeyError as missing:
            raise UserError(f"task {task}, {format}: the data has no column {missing}; it has {', '.join(row)}") from None
    return shaped


def order(count: int, seed: int) -> Iterator[int]:
    """Row numbers without end: every epoch its own permutation of 0 … count-1, given by the seed."""
    import numpy as np

    if count == 0:
        raise UserError("a training split is empty")
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(count).tolist()
