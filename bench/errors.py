"""Mistakes of a user, told so that they can be mended."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something in the user's input is wrong. The command prints the message and ends with exit
    code 2.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint such as "; did you mean lora?", or nothing where no known word is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


class BrokenArtifact(Exception):
    """An artifact does not hold what its model needs, no more and no less."""


class Uncharged(Exception):
    """A method trained something that nobody paid for."""


class Skipped(Exception):
    """The method cannot run here; the reason is the message."""
