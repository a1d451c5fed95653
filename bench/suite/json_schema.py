"""The JSON Schema of suite files as people write them, with the methods that are installed here."""

from __future__ import annotations

from typing import Any

from bench.methods import registry
from bench.methods.method import Method
from bench.methods.recipe import Recipe
from bench.methods.search_space import Range, hyperparameters
from bench.suite.schema import Suite


def suite_schema() -> dict[str, Any]:
    schema = Suite.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    definitions = schema["$defs"]
    beside = {"as": {"type": "string", "description": "the row's name"}}
    share = {
        "share": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "description": "share of the budget",
        }
    }
    schema["properties"]["methods"] = {"type": "array", "minItems": 1, "items": _entry(beside)}
    definitions["Part"] = _entry(share)
    definitions["Merger"] = _named(
        {
            name: plugin.method.model_json_schema()
            for name, plugin in registry.mergers().items()
            if plugin.method
        }
    )
    definitions.pop("MethodSpec", None)
    model = definitions["ModelSpec"]
    schema["properties"]["model"] = {
        "anyOf": [{"type": "string"}, model],
        "description": "what every recipe starts from",
    }
    tasks = schema["properties"]["tasks"]
    told = {key: tasks.pop(key) for key in ("title", "description", "default")}
    schema["properties"]["tasks"] = {"anyOf": [tasks, {"type": "string"}], **told}
    return schema


def _entry(beside: dict[str, Any]) -> dict[str, Any]:
    """A recipe as it stands in a list: a name, or a name with its parameters."""
    found = {
        name: plugin.method
        for name, plugin in registry.plugins().items()
        if plugin.method is not None
    }
    forms = {
        name: _recipe(method) if issubclass(method, Recipe) else _searched(method)
        for name, method in found.items()
    }
    entry = _named(forms)
    entry["anyOf"][1]["properties"] |= beside
    return entry


def _searched(method: type[Method]) -> dict[str, Any]:
    """The parameters of a method; a range to search may stand where the method declares one."""
    schema = method.model_json_schema()
    end = {"type": "number"}
    limits = {
        "type": "object",
        "properties": {"low": end, "high": end},
        "required": ["low", "high"],
        "additionalProperties": False,
    }
    for h in hyperparameters(method):
        if isinstance(h.range, Range):
            schema["properties"][h.name] = {"anyOf": [schema["properties"][h.name], limits]}
    return schema


def _named(forms: dict[str, Any]) -> dict[str, Any]:
    return {
        "anyOf": [
            {"enum": sorted(forms)},
            {"type": "object", "properties": forms, "additionalProperties": False},
        ]
    }


def _recipe(method: type[Recipe]) -> dict[str, Any]:
    """Parts, alone or beside what the recipe says more."""
    parts = {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/Part"}}
    more = {"by": {"$ref": "#/$defs/Merger"}} if "by" in method.model_fields else {}
    whole = {
        "type": "object",
        "properties": {"parts": parts, **more},
        "required": ["parts"],
        "additionalProperties": False,
    }
    return {"anyOf": [parts, whole]}
