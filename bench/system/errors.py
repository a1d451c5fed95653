"""What can go wrong for a user, in words that say how to mend it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

SHORT = 4  # letters; in a short word one slip weighs more


class UserError(Exception):
    """Something in the user's input is wrong. The command prints the message and ends with exit
    code 2.
    """


class BrokenReward(UserError):
    """A task's reward cannot be computed; the message says which one and why."""


class BrokenArtifact(Exception):
    """An artifact does not hold what its model needs, no more and no less."""


class Uncharged(Exception):
    """A method trained something that nobody paid for."""


class Skipped(Exception):
    """The method cannot run here; the message is the reason."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint such as "; did you mean lora?", or nothing where no known word is near.

    Near is a slip of the keyboard, another case, or the same words in another order.
    """
    names = {name.lower(): name for name in known}
    cutoff = 0.6 if len(word) <= SHORT else 0.75
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=cutoff)
    close += [name for name in names if _words(name) == _words(word.lower())]
    return f"; did you mean {names[close[0]]}?" if close else ""


def _words(name: str) -> list[str]:
    return sorted(re.split(r"[-_ ]+", name))
