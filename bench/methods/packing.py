"""Whole texts in as few rows as the model allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.data import tokenize
from bench.data.chat import Content
from bench.models.padding_free import tells_apart

if TYPE_CHECKING:
    from bench.methods.state import SessionState


def packed(session: SessionState, texts: Sequence[Content]) -> dict[str, Any]:
    """See `Session.pack`."""
    with session.ledger.suspend():  # looks at each model once, for which nobody is charged
        apart = all(map(tells_apart, session.log.models()))
    if apart:
        return tokenize.pack(texts, session.tokenizer, session.max_length)
    pieces = tokenize.pieces(texts, session.tokenizer, session.max_length)
    return tokenize.collate([(piece, piece) for piece in pieces], session.tokenizer)
