"""Task files of lm-eval, as they are read for a suite."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any

import yaml

from bench.data import folders
from bench.data.raw import each_file
from bench.system.errors import UserError


class NoFile(UserError):
    """A file of data that a task names does not exist."""


def read_lm_eval_yaml(file: Path) -> tuple[dict[str, Any], bytes]:
    """An lm-eval task file, its own relative data files resolved against its folder; and what the
    file says and reads, wherever it lies.
    """
    if not file.is_file():
        raise UserError(f"there is no lm-eval task file {file}")

    # its public functions would read relative files from the working folder
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        config = dict(load_yaml(file))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}{line}: this is not YAML: {error.problem}") from None
    except (ImportError, AttributeError) as error:  # of a !function
        raise UserError(f"{file}: {error}") from None
    except (TypeError, ValueError):
        raise UserError(f"{file} is no lm-eval task: it must be a mapping of keys") from None
    content = json.dumps(config, sort_keys=True, default=_as_text).encode()

    def located(name: str) -> str:
        nonlocal content
        path = (file.parent / name).resolve()
        if not path.is_file():
            raise NoFile(f"{file}: there is no data file {path}")
        content += hashlib.sha256(path.read_bytes()).digest()
        return str(path)

    path, kwargs = config.get("dataset_path"), config.get("dataset_kwargs")
    kwargs = dict(kwargs) if isinstance(kwargs, dict) else {}
    if kwargs.get("data_files"):
        kwargs["data_files"] = each_file(kwargs["data_files"], located)
    if isinstance(path, str):
        found, data_dir, below = folders.located(path, kwargs.get("data_dir"), file.parent)
        if below is not None:
            if not below.is_dir():
                raise NoFile(f"{file}: there is no data folder {below}")
            content += b"".join(folders.contents(below))
            config["dataset_path"] = found
            kwargs |= {"data_dir": data_dir} if data_dir else {}
    return config | ({"dataset_kwargs": kwargs} if kwargs else {}), content


def _as_text(value: Any) -> str:
    """What stands for a value that JSON does not know: for a `!function`, its name and its file."""
    if not inspect.isfunction(value):
        return str(value)
    return f"{value.__qualname__} of {Path(inspect.getfile(value)).read_text(encoding='utf-8')}"
