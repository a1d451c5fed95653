"""What can be said of the Hugging Face hub before anything is downloaded from it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

from bench.system.errors import nearest

PATIENCE = 3.0  # seconds; the libraries try for half a minute
CONNECTION = ("couldn't connect", "couldn't reach", "offline", "cannot find the requested")


def offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


@cache
def reachable() -> bool:
    """Whether the hub answers within seconds. What is not cached cannot be had otherwise."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if offline():
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # whatever kind of network there is, it does not lead there
        return False
    return True


@contextmanager
def no_waiting(on_hub: bool) -> Iterator[None]:
    """Where what is loaded lies on the hub, and that does not answer, the libraries take what is
    cached and fail at once without it, as if HF_HUB_OFFLINE were set.
    """
    if not on_hub or offline() or reachable():
        yield
        return
    from datasets import config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before


def out_of_reach(name: str, what: str, known: Iterable[str] = ()) -> str:
    """That the hub does not give a model or data set, and what to do."""
    if offline():
        return (
            f"the {what} {name} is not in the cache, and HF_HUB_OFFLINE forbids to download it:"
            f" download it first, or name a local folder{nearest(name, known)}"
        )
    return (
        f"the {what} {name} is not in the cache, and the hub cannot be reached"
        f"{nearest(name, known)}"
    )


def is_connection(error: BaseException) -> bool:
    """Whether something failed because the hub could not be asked."""
    return isinstance(error, ConnectionError) or any(
        word in str(error).lower() for word in CONNECTION
    )


def one_line(error: BaseException, most: int = 300) -> str:
    """What an error of a library says, without its type and line breaks."""
    text = " ".join(str(error).split())
    return text[:most] if text else type(error).__name__
