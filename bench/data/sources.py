"""Where training data comes from, and how its columns become those of a format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from bench.data.chat import spread
from bench.data.formats import COLUMNS, Format
from bench.data.templates import evaluated, filled, no_column
from bench.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

Split = Literal["train", "validation"]


class SourceSpec(BaseModel):
    """Training data of one format: anything that `datasets.load_dataset` reads, and how its columns
    become ours.

    Keys named after columns of the format (prompt, completion, text, …) are templates: "{text} It
    was", or with double braces Jinja as in lm-eval, "{{text}} It was{{' not' if label == 0}}".
    `label`, `completions` and `scores`, which are no text, are Jinja expressions, such as the name
    of a column.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(
        description="a dataset on the hub, a folder, or a loader: json, csv, parquet, text"
    )
    name: str | None = Field(default=None, description="configuration of the dataset")
    revision: str | None = None
    data_dir: str | None = None
    data_files: str | list[str] | dict[str, str | list[str]] | None = Field(
        default=None, description="files, relative to the suite file"
    )
    split: str = Field(default="train", description="the split to train on")
    validation_split: str = Field(default="validation", description="the split to select on")
    where: str | None = Field(
        default=None,
        description="a Jinja expression over the columns; rows for which it is false are left out",
    )
    prompt: str | None = None
    completion: str | None = None
    text: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    answer: str | None = None
    label: str | None = Field(
        default=None, description="column or expression that is true or false"
    )
    completions: str | None = Field(
        default=None, description="column or expression with a list of completions"
    )
    scores: str | None = Field(
        default=None, description="column or expression with a list of scores"
    )

    @model_serializer(mode="wrap")
    def _set_ones(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_unset(handler(self), "where")

    def files(self, folder: Path) -> list[Path]:
        """The local data files, which need not exist."""
        given = self.data_files or []
        groups = list(given.values()) if isinstance(given, dict) else [given]
        names = [
            name for group in groups for name in ([group] if isinstance(group, str) else group)
        ]
        return [folder / name for name in names if "://" not in name]

    def seen_from(self, place: str) -> SourceSpec:
        """The same source for a reader who has to take the relative way `place` to its folder."""
        return self.model_copy(update={"data_files": _seen_from(place, self.data_files)})


def without_unset(content: Mapping[str, Any], *later: str) -> dict[str, Any]:
    """A dump without the keys that came `later` and are not set: they must not change what an older
    suite hashes to.
    """
    return {key: value for key, value in content.items() if value is not None or key not in later}


def loader(
    task: str, format: Format, source: SourceSpec, folder: Path
) -> Callable[[Split], Dataset]:
    """What loads a split in the columns of a format; relative paths start at `folder`."""

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
        if source.where is not None:
            data = data.filter(
                lambda row: _keeps(row, task, format, source),
                load_from_cache_file=False,
                keep_in_memory=True,
            )
        return data.map(
            lambda row: _shaped(row, task, format, source),
            remove_columns=data.column_names,
            load_from_cache_file=False,
            keep_in_memory=True,
        )

    return load


def relocated(place: str, name: str) -> str:
    """The name of a file from where `place` leads to the folder that it is relative to."""
    return name if "://" in name else os.path.normpath(Path(place) / name)


def _seen_from(place: str, files: Any) -> Any:
    if isinstance(files, dict):
        return {split: _seen_from(place, group) for split, group in files.items()}
    if isinstance(files, list):
        return [_seen_from(place, name) for name in files]
    return files and relocated(place, files)


def _located(files: str | list[str] | dict[str, str | list[str]], folder: Path) -> Any:
    if isinstance(files, dict):
        return {split: _located(group, folder) for split, group in files.items()}
    if isinstance(files, list):
        return [_located(name, folder) for name in files]
    return files if "://" in files else str((folder / files).resolve())


def _keeps(row: dict[str, Any], task: str, format: Format, source: SourceSpec) -> bool:
    assert source.where is not None
    with _told_where(task, format):
        return bool(evaluated(source.where, row))


def _shaped(row: dict[str, Any], task: str, format: Format, source: SourceSpec) -> dict[str, Any]:
    row = row if source.prompt else spread(row, format)
    shaped = {"tools": row["tools"]} if row.get("tools") else {}
    with _told_where(task, format):
        for column in COLUMNS[format]:
            template = getattr(source, column)
            if template is None and column not in row:
                raise no_column(column, row)
            if template is None:
                shaped[column] = row[column]
            elif column in ("completions", "scores", "label"):
                shaped[column] = evaluated(template, row)
            else:
                shaped[column] = filled(template, row)
    return shaped


@contextmanager
def _told_where(task: str, format: Format) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"task {task}, {format}: {error}") from None
