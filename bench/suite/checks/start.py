"""Whether the model and its tokenizer can be had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
                config = AutoConfig.from_pretrained(
                    spec.location,
                    revision=spec.revision or "main",
                    trust_remote_code=spec.trust_remote_code,
                )
                if not (spec.trust_remote_code or config.model_type in _kinds()):
                    what = f"{spec.path} is a {config.model_type}, and no causal language model"
                    return Mistake(what, ("model",))
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


def weights_of(suite: Suite) -> Iterator[Mistake]:
    """What is wrong with the weights in the model's folder, if it is one."""
    from safetensors import SafetensorError, safe_open

    spec = suite.start()
    folder = Path(spec.location) if spec.path and spec.path not in EMBEDDED else None
    if folder is None or not folder.is_dir():
        return
    files = list(folder.glob("*.safetensors"))
    if not files:
        what = f"{folder} has no weights in safetensors, the one form that is loaded"
        yield Mistake(what, ("model",), here=True)
    for file in files:
        try:
            with safe_open(file, "pt"):
                pass
        except SafetensorError as error:
            yield Mistake(f"{file} is damaged: {error}", ("model",))


def _no_architecture(spec: ModelSpec) -> str | None:
    """Why there is no model with random weights of the shape that is asked for, or None."""
    from transformers import AutoConfig

    if spec.random is None:
        return None
    if spec.random not in _kinds():
        hint = nearest(spec.random, _kinds())
        return f"transformers knows no causal language model {spec.random}{hint}"
    try:
        given, known = spec.model_extra or {}, AutoConfig.for_model(spec.random)
        for key in given:  # a model may read keys that its configuration does not list
            hint = "" if hasattr(known, key) else nearest(key, known.to_dict())
            if hint:
                return f"{spec.random} has no {key}{hint}"
        AutoConfig.for_model(spec.random, **given)
    except Exception as error:  # of many architectures, each of which checks its own keys
        return f"the configuration of {spec.random} cannot be built: {one_line(error)}"
    return None


def _kinds() -> Mapping[str, object]:
    """The models of transformers that continue text, by their type."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
