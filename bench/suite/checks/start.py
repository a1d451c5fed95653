"""Whether the model and its tokenizer can be had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.hub import is_connection, no_waiting, one_line, out_of_reach
from bench.data.render import has_template
from bench.models.spec import EMBEDDED, ModelSpec
from bench.suite.checks.report import Mistake
from bench.suite.schema import Suite
from bench.system.errors import UserError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenizer_of(suite: Suite) -> PreTrainedTokenizerBase | Mistake:
    """The tokenizer, or why the model cannot be had."""
    from transformers import AutoConfig

    from bench.models.load import load_tokenizer

    spec = suite.start()
    if what := _no_architecture(spec):
        return Mistake(what, ("model",))
    names = [spec.tokenizer_location, *([spec.location] if spec.path else [])]
    on_hub = any("/" in name and not Path(name).is_dir() for name in names)
    try:
        with no_waiting(on_hub):
            if spec.random is None and spec.path not in EMBEDDED:
                AutoConfig.from_pretrained(
                    spec.location,
                    revision=spec.revision or "main",
                    trust_remote_code=spec.trust_remote_code,
                )
            tokenizer = load_tokenizer(spec)
        if suite.chat is not None:
            has_template(tokenizer)
        return tokenizer
    except UserError as error:
        return Mistake(str(error), ("model",) if suite.chat is None else ("chat",))
    except Exception as error:  # of many libraries: a name, a folder, or what lies in it is wrong
        name = spec.path or spec.tokenizer_location
        if is_connection(error) and not Path(spec.location if spec.path else name).is_dir():
            return Mistake(out_of_reach(name, "model"), ("model",))
        return Mistake(f"the model {name} cannot be loaded: {one_line(error)}", ("model",))


def _no_architecture(spec: ModelSpec) -> str | None:
    """Why there is no model with random weights of the shape that is asked for, or None."""
    from transformers import CONFIG_MAPPING, AutoConfig

    if spec.random is None:
        return None
    if spec.random not in CONFIG_MAPPING:
        hint = nearest(spec.random, CONFIG_MAPPING)
        return f"transformers knows no architecture {spec.random}{hint}"
    try:
        AutoConfig.for_model(spec.random, **(spec.model_extra or {}))
    except Exception as error:  # of many architectures, each of which checks its own keys
        return f"the configuration of {spec.random} cannot be built: {one_line(error)}"
    return None
