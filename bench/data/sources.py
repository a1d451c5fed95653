"""Where training data comes from, and how its columns become those of a format."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.data.formats import COLUMNS, Format
from bench.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

    from bench.data.rewards.reward import Reward

Split = Literal["train", "validation"]


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
        names = [
            name for group in groups for name in ([group] if isinstance(group, str) else group)
        ]
        return [folder / name for name in names if "://" not in name]


def loader(
    task: str, format: Format, source: SourceSpec, folder: Path, reward: Reward | None = None
) -> Callable[[Split], Dataset]:
    """What loads a split in the columns of a format; relative paths start at `folder`.

    A `reward` says whether prompts need an answer, and whether other columns are kept beside it.
    """

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
            lambda row: {
                **(_extra(row) if reward and reward.needs_columns else {}),
                **_shaped(row, task, format, source, _columns(row, format, source, reward)),
            },
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


def _extra(row: dict[str, Any]) -> dict[str, Any]:
    """What a reward function is handed beside prompts and completions, as TRL does."""
    return {key: value for key, value in row.items() if key not in ("completion", "completion_ids")}


def _columns(
    row: dict[str, Any], format: Format, source: SourceSpec, reward: Reward | None
) -> tuple[str, ...]:
    """The format's columns; without an answer where no reward needs it and the data has none."""
    unneeded = reward is not None and not reward.needs_answer
    if unneeded and source.answer is None and "answer" not in row:
        return tuple(column for column in COLUMNS[format] if column != "answer")
    return COLUMNS[format]


def _shaped(
    row: dict[str, Any], task: str, format: Format, source: SourceSpec, columns: tuple[str, ...]
) -> dict[str, Any]:
    shaped = {}
    for column in columns:
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
