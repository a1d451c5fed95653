"""The package that `bench new-method` writes: it can be installed, checked and run as it is."""

from __future__ import annotations

import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from bench.methods import registry
from bench.system.errors import UserError

TEMPLATE = Path(__file__).parent / "template"


def new_method(name: str, into: Path) -> list[Path]:
    """Write the package for a method of that name into a new folder; gives the files, the folder's
    README first.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UserError(
            f"{name!r} is no name for a method: small letters and digits, words joined by dashes,"
            " such as my-method"
        )
    if name in registry.plugins():
        raise UserError(
            f"there is a method {name} already, from {registry.find(name).origin}: take another"
            " name"
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module):
        raise UserError(f"{name} is a word of Python's own: take another name")
    if find_spec(module):
        raise UserError(f"a package {module} is installed already: take another name")
    folder = into / name
    if into.is_file():
        raise UserError(f"{into} is a file: give a folder to --to")
    if folder.exists():
        raise UserError(f"{folder} exists already: take another name, or another place with --to")
    words = {
        "@name@": name,
        "@module@": module,
        "@class@": "".join(word.capitalize() for word in name.split("-")),
    }
    places = {
        "README.md": "README.md",
        "pyproject.toml": "pyproject.toml",
        "method.py": f"{module}/__init__.py",
        "test_method.py": f"tests/test_{module}.py",
        "suite.yaml": "suite.yaml",
    }
    return [
        _write(TEMPLATE / f"{source}.txt", folder / target, words)
        for source, target in places.items()
    ]


def _write(template: Path, file: Path, words: dict[str, str]) -> Path:
    text = template.read_text(encoding="utf-8")
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file
