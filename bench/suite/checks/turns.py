"""Whether the chat template takes the conversations, and lets each answer in them be learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.chat import Content, Conversation, opened
from bench.data.formats import COLUMNS, Format
from bench.data.render import encode_reply, ids_of
from bench.data.sources import Row
from bench.suite.checks.report import Mistake
from bench.suite.checks.tables import Table
from bench.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST = 50  # rows with several turns in an answer that are rendered turn by turn
ANSWERS = ("completion", "chosen", "rejected")


class Turns:
    """Renders rows as training does: one of each order of roles, as most of what a template refuses
    is an order; and answers of more than one turn.
    """

    def __init__(self, table: Table, tokenizer: PreTrainedTokenizerBase | None) -> None:
        self._table, self._tokenizer, self._left = table, tokenizer, MOST
        self._orders: set[tuple[str, ...]] = set()
        self._told = False

    def look(self, number: int, row: Row, wholes: list[Content]) -> Mistake | None:
        """What is wrong with a row, from which the sequences `wholes` are learned; told once."""
        if self._tokenizer is None or self._told:
            return None
        try:
            for whole in wholes:
                self._render(whole, self._tokenizer)
            self._render_answers(row, self._tokenizer)
        except UserError as error:
            self._told = True
            what = f"{self._table.name}: {error} (first in {self._table.place(number)})"
            return Mistake(what, ("chat",))
        return None

    def _render(self, whole: Content, tokenizer: PreTrainedTokenizerBase) -> None:
        if not isinstance(whole, Conversation):
            return
        order = tuple(turn["role"] for turn in whole.turns)
        if order not in self._orders:
            self._orders.add(order)
            ids_of(whole, tokenizer, asks=False)

    def _render_answers(self, row: Row, tokenizer: PreTrainedTokenizerBase) -> None:
        if self._table.format in (Format.LANGUAGE_MODELING, Format.PROMPT_ONLY) or not self._left:
            return
        cells = {name: cells[0] for name, cells in opened({k: [v] for k, v in row.items()}).items()}
        answers = [cells[name] for name in COLUMNS[self._table.format] if name in ANSWERS]
        long = [a for a in answers if isinstance(a, Conversation) and len(a.turns) > 1]
        self._left -= bool(long)
        for answer in long:
            encode_reply(cells["prompt"], answer, tokenizer)
