"""Everything about a suite's data that can be known before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.data.chat import Content
from bench.data.held_out import mark
from bench.suite.checks import lengths, overlap
from bench.suite.checks.cells import Looker, texts
from bench.suite.checks.evaluations import Items, evaluations
from bench.suite.checks.overlap import Seen, normal
from bench.suite.checks.report import Lengths, Mistake, Report, Source
from bench.suite.checks.start import tokenizer_of, weights_of
from bench.suite.checks.tables import Table, tables
from bench.suite.checks.turns import Turns
from bench.suite.schema import Suite
from bench.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Report", "check"]


def check(suite: Suite) -> Report:
    """Look at every row of the data, and at as many of its tokens as tell how long rows are.

    Mistakes are gathered, not raised; `Report.refuse` raises them.
    """
    report = Report()
    tokenizer = next(_kept([tokenizer_of(suite)], report), None)
    report.mistakes += [] if report.mistakes else weights_of(suite)
    checker = _Checker(suite, tokenizer, list(_kept(evaluations(suite), report)), report)
    found = {(t.task, t.format, t.split): t for t in _kept(tables(suite), report)}
    for task, format in dict.fromkeys((task, format) for task, format, _ in found):
        checker.look(*(found.get((task, format, split)) for split in ("train", "validation")))
    return report


def _kept(found: Iterable[Any], report: Report) -> Iterator[Any]:
    """All but the mistakes, which go into the report."""
    for one in found:
        if isinstance(one, Mistake):
            report.mistakes.append(one)
        else:
            yield one


@dataclass(frozen=True)
class _Checker:
    """Looks at tables, and writes down what it sees."""

    suite: Suite
    tokenizer: PreTrainedTokenizerBase | None
    items: list[Items]
    report: Report

    def look(self, train: Table | None, validation: Table | None) -> None:
        """Look at the training rows of a format, and at its validation rows."""
        rows, others = list(self._seen(train)), list(self._seen(validation))
        if train is None:
            return
        known = [overlap.of_evaluation(items, train.format) for items in self.items]
        if validation is not None:
            known.append(overlap.of_validation(validation, others))
        for items in known:
            for row in rows:
                items.look(row)
            if found := items.overlap(train):
                self.report.overlaps.append(found)
        self.report.sources.append(
            Source(
                train.task,
                train.format,
                len(train.rows),
                len(validation.rows) if validation else 0,
                train.part is not None and train.part.held_out,
                self._lengths(train, [row.wholes for row in rows if row.wholes]),
            )
        )

    def _seen(self, table: Table | None) -> Iterator[Seen]:
        """What overlap and lengths need of every good row; what is wrong with the others goes into
        the report.
        """
        if table is None:
            return
        looker, step = Looker(table, self.suite.chat), -(-len(table.rows) // lengths.MOST)
        marked = any(items.has(table.rows.column_names) for items in self.items)
        turns = Turns(table, self.tokenizer)
        for number, raw, row in looker.good():
            asked, wholes = texts(table.format, row)
            if mistake := turns.look(number, row, wholes):
                self.report.mistakes.append(mistake)
            content = mark(raw) if marked else None
            yield Seen(number, normal(asked), content, wholes if number % step == 0 else [])
        told = {mistake.place for mistake in self.report.mistakes} - {None}  # of the training split
        self.report.mistakes += [m for m in looker.mistakes if m.place not in told]

    def _lengths(self, table: Table, sample: list[list[Content]]) -> Lengths | None:
        refused = any(mistake.place == ("chat",) for mistake in self.report.mistakes)
        if self.tokenizer is None or not sample or refused:
            return None
        try:
            found = lengths.measured(sample, self.tokenizer, self.suite.batch.max_length)
        except UserError as error:  # of the chat template
            self.report.mistakes.append(Mistake(f"{table.name}: {error}", ("chat",)))
            return None
        if mistake := lengths.too_long(table, found):
            self.report.mistakes.append(mistake)
        return found
