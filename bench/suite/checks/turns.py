"""Whether the chat template lets every turn of the assistant be learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.chat import Conversation, opened
from bench.data.formats import COLUMNS, Format
from bench.data.render import encode_reply
from bench.data.sources import Row
from bench.suite.checks.report import Mistake
from bench.suite.checks.tables import Table
from bench.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST = 50  # rows with several turns in an answer that are rendered turn by turn
ANSWERS = ("completion", "chosen", "rejected")


class Turns:
    """Renders the answers of rows as training does, as far as they have more than one turn."""

    def __init__(self, table: Table, tokenizer: PreTrainedTokenizerBase | None) -> None:
        self._table, self._tokenizer, self._left = table, tokenizer, MOST

    def look(self, row: Row) -> Mistake | None:
        """What is wrong, told once."""
        if self._tokenizer is None or not self._left:
            return None
        if self._table.format in (Format.LANGUAGE_MODELING, Format.PROMPT_ONLY):
            return None
        cells = {name: cells[0] for name, cells in opened({k: [v] for k, v in row.items()}).items()}
        answers = [cells[name] for name in COLUMNS[self._table.format] if name in ANSWERS]
        long = [a for a in answers if isinstance(a, Conversation) and len(a.turns) > 1]
        self._left -= bool(long)
        try:
            for answer in long:
                encode_reply(cells["prompt"], answer, self._tokenizer)
        except UserError as error:
            self._left = 0
            return Mistake(f"{self._table.name}: {error}", ("chat",))
        return None
