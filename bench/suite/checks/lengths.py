"""How long rows are in tokens, and what `max_length` cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.data.chat import Content
from bench.data.formats import Format
from bench.data.tokenize import text_ids
from bench.suite.checks.report import Lengths, Mistake
from bench.suite.checks.tables import Table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST = 1000  # rows that are tokenised
MOST_CHARACTERS = 4_000_000  # of all of them together


def measured(
    rows: Sequence[Sequence[Content]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Lengths:
    """Lengths of rows, each given as the sequences that it is trained on, of which the longest
    counts. There is one at least.
    """
    largest = max(sum(len(str(content)) for content in row) for row in rows)
    looked = rows[:: max(1, -(-len(rows) * largest // MOST_CHARACTERS))]
    counts = iter([len(ids) for ids in text_ids([c for row in looked for c in row], tokenizer)])
    found = sorted(max(next(counts) for _ in row) for row in looked)
    cut = sum(length > max_length for length in found) / len(found)
    return Lengths(
        len(found), found[0], found[len(found) // 2], found[-1], max_length, round(cut, 4)
    )


def too_long(table: Table, lengths: Lengths) -> Mistake | None:
    """Rows that are cut one and all. Plain text is another matter: a method may pack it, so that
    what is cut from one row is the next.
    """
    if lengths.share_cut < 1 or table.format == Format.LANGUAGE_MODELING:
        return None
    return Mistake(
        f"{table.name}: all {lengths.looked_at:,} rows looked at in {table.where} are longer than"
        f" max_length {lengths.max_length:,}; the shortest has {lengths.shortest:,} tokens",
        ("batch", "max_length"),
    )
