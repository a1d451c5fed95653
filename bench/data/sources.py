"""Where training data comes from, and how its columns become those of a format."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from bench.data import raw
from bench.data.chat import spread
from bench.data.folders import moved
from bench.data.formats import COLUMNS, Format
from bench.data.raw import Origin, Split, each_file
from bench.data.templates import NoColumn, evaluated, filled
from bench.system.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

    from bench.data.rewards.reward import Reward

LISTED = ("completions", "scores", "label")  # never text, and so made by expressions
Row = dict[str, Any]


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
        description=(
            "a dataset on the hub, a folder, relative to the suite file, or a loader: json, csv,"
            " parquet, text"
        )
    )
    name: str | None = Field(default=None, description="configuration of the dataset")
    revision: str | None = None
    data_dir: str | None = Field(
        default=None,
        description="a folder with files for the loader, relative to the suite file; otherwise a"
        " part of the dataset",
    )
    data_files: str | list[str] | dict[str, str | list[str]] | None = Field(
        default=None, description="files, relative to the suite file"
    )
    split: str = Field(default="train", description="the split to train on")
    validation_split: str = Field(
        default="validation",
        description="the split to select on; where there is none, training rows are held out",
    )
    where: str | None = Field(
        default=None,
        exclude_if=lambda value: value is None,  # a key that came later must not change older ids
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

    def seen_from(self, place: str, folder: Path) -> SourceSpec:
        """The same source for a reader who has to take the relative way `place` to its `folder`."""
        files = each_file(self.data_files, lambda name: relocated(place, name))
        path, data_dir = moved(self.path, self.data_dir, folder, place)
        return self.model_copy(update={"path": path, "data_dir": data_dir, "data_files": files})

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


def relocated(place: str, name: str) -> str:
    """The name of a file from where `place` leads to the folder that it is relative to."""
    return os.path.normpath(Path(place) / name)


@dataclass(frozen=True)
class Part:
    """The rows of one split of a source, before they have the columns of a format."""

    origin: Origin
    named: str
    """The split of the data that holds them."""
    numbers: Sequence[int]
    """Which rows of that split they are."""
    held_out: bool
    """Whether the data has no validation rows, so that some training rows are held out."""

    @property
    def rows(self) -> Dataset:
        return raw.rows(self.origin, self.named).select(self.numbers)

    def place(self, row: int) -> str:
        """Where a row (from 0) stands, for people: "data/train.jsonl, line 8"."""
        return self.origin.place(self.named, self.numbers[row])


def read(source: SourceSpec, folder: Path, split: Split) -> Part:
    """The rows of a split; `BadData` where they cannot be read. Where there is no validation split,
    a tenth of the training rows is held out for it.

    What `where` leaves out is gone before: it is neither held out nor trained on. The division goes
    by the content of the raw row, so every format has the same rows on the same side.
    """
    origin = source.origin(folder)
    held_out = source.holds_out(origin)
    if held_out:
        division = raw.division(origin, source.split, source.where)
        numbers = division.kept if split == "train" else division.held
        return Part(origin, source.split, numbers, held_out)
    key = "split" if split == "train" else "validation_split"
    named = getattr(source, key)
    return Part(origin, named, raw.numbers(origin, named, source.where, key), held_out)


def loader(
    task: str, format: Format, source: SourceSpec, folder: Path, reward: Reward | None = None
) -> Callable[[Split], Dataset]:
    """What loads a split in the columns of a format; relative paths start at `folder`.

    A `reward` says whether prompts need an answer, and whether other columns are kept beside it.
    """

    def load(split: Split) -> Dataset:
        def shape(row: Row) -> Row:
            return shaped(row, format, source, reward)

        try:
            data = read(source, folder, split).rows
            return data.map(
                shape,
                remove_columns=data.column_names,
                load_from_cache_file=False,
                keep_in_memory=True,
            )
        except UserError as error:
            raise UserError(f"task {task}, {format}: {error}") from error.__cause__

    return load


class BadCell(UserError):
    """A row does not give what a column of the format needs."""

    def __init__(self, column: str, what: str, everywhere: bool = False) -> None:
        super().__init__(what)
        self.column = column
        self.everywhere = everywhere
        """Whether no other row can give it either."""


def shaped(row: Row, format: Format, source: SourceSpec, reward: Reward | None = None) -> Row:
    """A raw row in the columns of a format, with its tools and with what the reward asks for.
    `BadCell` where it does not have what is needed.
    """
    row = row if source.prompt else spread(row, format)
    made = {"tools": row["tools"]} if "tools" in row else {}  # all rows must have the same keys
    if reward is not None and reward.needs_columns:  # as TRL does, all but what is generated
        made = {k: v for k, v in row.items() if k not in ("completion", "completion_ids")} | made
    for column in COLUMNS[format]:
        needless = column == "answer" and reward is not None and not reward.needs_answer
        if needless and source.answer is None and "answer" not in row:
            continue
        try:
            made[column] = _cell(row, column, getattr(source, column))
        except UserError as error:
            raise BadCell(column, str(error), isinstance(error, NoColumn)) from None
    return made


def _cell(row: Row, column: str, template: str | None) -> Any:
    if template is not None and column in LISTED:
        return evaluated(template, row)
    if template in row:
        raise UserError(f'{template} is a column: write {column}: "{{{template}}}" for its content')
    if template is not None:
        return filled(template, row)
    if column in row:
        return row[column]
    given = "COLUMN" if column in LISTED else '"{COLUMN}"'
    raise NoColumn(column, row, f" (say which one to use: {column}: {given})")
