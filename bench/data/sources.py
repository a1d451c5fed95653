"""Where training data comes from, and how its columns become those of a format."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from bench.data import raw
from bench.data.formats import COLUMNS, Format
from bench.data.raw import BadData, Origin, Split
from bench.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset


class SourceSpec(BaseModel):
    """Training data of one format: anything that `datasets.load_dataset` reads, and how its columns
    become ours.

    Keys named after columns of the format (prompt, completion, text, …) are templates such as
    "{text} It was".
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
    validation_split: str = Field(
        default="validation",
        description="the split to select on; where there is none, training rows are held out",
    )
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
        names = [
            name for group in groups for name in ([group] if isinstance(group, str) else group)
        ]
        return [folder / name for name in names if "://" not in name]

    def origin(self, folder: Path) -> Origin:
        """What is loaded; relative files start at `folder`."""
        return raw.origin(
            self.path, self.name, self.revision, self.data_dir, self.data_files, folder
        )

    def holds_out(self, origin: Origin) -> bool:
        """Whether training rows stand in for validation rows, as the data has none and the suite
        names none.
        """
        named = "validation_split" in self.model_fields_set
        return not named and self.validation_split not in raw.splits(origin)


def read(source: SourceSpec, folder: Path, split: Split) -> Dataset:
    """The rows of a split before they have the columns of a format. Where there is no validation
    split, a tenth of the training rows is held out for it.
    """
    origin = source.origin(folder)
    if source.holds_out(origin):
        division = raw.division(origin, source.split)
        numbers = division.kept if split == "train" else division.held
        return raw.rows(origin, source.split).select(numbers)
    return raw.rows(origin, source.split if split == "train" else source.validation_split)


def loader(
    task: str, format: Format, source: SourceSpec, folder: Path
) -> Callable[[Split], Dataset]:
    """What loads a split in the columns of a format; relative paths start at `folder`."""

    def load(split: Split) -> Dataset:
        try:
            data = read(source, folder, split)
        except BadData as error:
            raise UserError(f"task {task}, {format}: {error}") from error.__cause__

        def shape(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
            rows = (
                dict(zip(columns, cells, strict=True))
                for cells in zip(*columns.values(), strict=True)
            )
            shaped = [_shaped(row, task, format, source) for row in rows]
            return {name: [row[name] for row in shaped] for name in COLUMNS[format]}

        return data.map(
            shape,
            batched=True,
            remove_columns=data.column_names,
            load_from_cache_file=False,
            keep_in_memory=True,
        )

    return load


def _shaped(row: dict[str, Any], task: str, format: Format, source: SourceSpec) -> dict[str, Any]:
    shaped = {}
    for column in COLUMNS[format]:
        template = getattr(source, column)
        try:
            if column in ("completions", "scores", "label"):
                shaped[column] = row[template or column]
            else:
                shaped[column] = (
                    row[column]
                    if template is None
                    else string.Formatter().vformat(template, (), row)
                )
        except KeyError as missing:
            raise UserError(
                f"task {task}, {format}: the data has no column {missing}; it has {', '.join(row)}"
            ) from None
    return shaped
