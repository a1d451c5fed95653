"""The JSON Schema of suite files as people write them, with the methods that are installed here."""

from __future__ import annotations

from typing import Any

from . import registry
from .suite import Suite


def suite_schema() -> dict[str, Any]:
    schema = Suite.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found = {name: plugin.method for name, plugin in registry.plugins().items() if plugin.method is not None}
    entry = {
        "anyOf": [
            {"enum": sorted(registry.plugins())},
            {
                "type": "object",
                "properties": {
                    "as": {"type": "string", "description": "the row's name"},
                    **{name: method.model_json_schema() for name, method in found.items()},
                },
                "additionalProperties": False,
            },
        ]
    }
    schema["properties"]["methods"] = {"type": "array", "minItems": 1, "items": entry}
    schema["$defs"].pop("MethodSpec", None)
    model = schema["$defs"]["ModelSpec"]
    schema["properties"]["model"] = {"anyOf": [{"type": "string"}, model], "description": "what every recipe starts from"}
    return schema
