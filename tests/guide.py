"""The whole methods that the guide for plugins shows."""

from __future__ import annotations

import re
from functools import cache

from bench.methods.method import Method

from .conftest import ROOT

BY_TRAINER = "MyDPO"
"""The one that a trainer of TRL trains."""


def examples() -> dict[str, str]:
    """The source of each, by its class."""
    text = (ROOT / "docs/writing-a-method.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    return {
        re.findall(r"class (\w+)\(Method\)", block)[0]: block
        for block in blocks
        if "def train" in block
    }


@cache
def method(name: str) -> type[Method]:
    """The class of one."""
    found: dict[str, type[Method]] = {}
    exec(compile(examples()[name], "guide", "exec", dont_inherit=True), found)
    return found[name]


def plugin(name: str) -> str:
    """A module whose `Plugin` is this one."""
    return f"{examples()[name]}\n\nPlugin = {name}\n"
