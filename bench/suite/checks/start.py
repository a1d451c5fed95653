"""Whether the model and its tokenizer can be had, and the text for drift."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.formats import Format
from bench.data.hub import is_connection, no_waiting, one_line, out_of_reach
from bench.data.render import has_template
from bench.errors import UserError
from bench.suite.checks.report import Mistake
from bench.suite.schema import Suite

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenizer_of(suite: Suite) -> PreTrainedTokenizerBase | Mistake:
    """The tokenizer, or why the model cannot be had."""
    from transformers import AutoConfig

    from bench.models.load import load_tokenizer

    spec = suite.start()
    names = [spec.tokenizer_location, *([spec.location] if spec.path else [])]
    on_hub = any("/" in name and not Path(name).is_dir() for name in names)
    try:
        with no_waiting() if on_hub else nullcontext():
            if spec.random is None:
                AutoConfig.from_pretrained(
                    spec.location,
                    revision=spec.revision or "main",
                    trust_remote_code=spec.trust_remote_code,
                )
            tokenizer = load_tokenizer(spec)
    except UserError as error:
        return Mistake(str(error), ("model",))
    except Exception as error:  # of many libraries: a name, a folder, or what lies in it is wrong
        name = spec.path or spec.tokenizer_location
        if is_connection(error) and not Path(spec.location if spec.path else name).is_dir():
            return Mistake(out_of_reach(name, "model"), ("model",))
        said = one_line(error)
        return Mistake(f"the model {name} cannot be loaded: {said}", ("model",))
    if suite.chat is not None:
        try:
            has_template(tokenizer)
        except UserError as error:
            return Mistake(str(error), ("chat",))
    return tokenizer


def drift_mistakes(suite: Suite) -> Iterator[Mistake]:
    """What is wrong with the text on which drift is measured; rows of a declared task are looked at
    with all others.
    """
    if suite.drift is None:
        return
    file = suite.folder / suite.drift
    if file.is_file():
        try:
            if not file.read_text(encoding="utf-8").strip():
                yield Mistake(f"{suite.drift}: there is no text in it", ("drift",))
        except UnicodeDecodeError:
            yield Mistake(f"{suite.drift} is not a text file in UTF-8", ("drift",))
        return
    try:
        task = suite.task(suite.drift)
    except UserError as error:
        yield Mistake(str(error), ("drift",))
        return
    if Format.LANGUAGE_MODELING not in task.formats:
        what = f"drift is measured on plain text, and {suite.drift} has no language-modeling data"
        yield Mistake(what, ("drift",))
