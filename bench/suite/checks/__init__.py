"""Everything about a suite's data that can be known before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.data.held_out import mark
from bench.suite.checks import lengths, overlap
from bench.suite.checks.cells import Looker, texts
from bench.suite.checks.columns import column_mistakes
from bench.suite.checks.evaluations import Items, evaluations
from bench.suite.checks.overlap import Seen, normal
from bench.suite.checks.report import Lengths, Mistake, Report, Source
from bench.suite.checks.start import drift_mistakes, tokenizer_of
from bench.suite.checks.tables import Table, tables
from bench.suite.schema import Suite

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Report", "check"]


def check(suite: Suite) -> Report:
    """Look at every row of the data, and at as many of its tokens as tell how long rows are.

    Mistakes are gathered, not raised; `Report.refuse` raises them.
    """
    report = Report()
    tokenizer = tokenizer_of(suite)
    if isinstance(tokenizer, Mistake):
        report.mistakes.append(tokenizer)
    report.mistakes += drift_mistakes(suite)
    items = list(_kept(evaluations(suite), report))
    found = list(_kept(tables(suite), report))
    checker = _Checker(suite, None if isinstance(tokenizer, Mistake) else tokenizer, items, report)
    validation = {(t.task, t.format): t for t in found if t.split == "validation"}
    for table in found:
        if table.split == "train":
            checker.look(table, validation.get((table.task, table.format)))
    return report


def _kept(found: Iterator[Any], report: Report) -> Iterator[Any]:
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

    def look(self, train: Table, validation: Table | None) -> None:
        """Look at the training rows of a format, and at its validation rows."""
        known = [overlap.of_evaluation(items, train.format) for items in self.items]
        rows = list(self._seen(train, {items.columns for items in known}))
        if validation is not None:
            known.append(overlap.of_validation(validation, self._seen(validation)))
        elif train.held_out:
            held = (row for row in rows if row.number in train.held)
            known.append(overlap.of_validation(train, held))
        for items in known:
            for row in rows:
                if row.number not in train.held:
                    items.look(row)
            if found := items.overlap(train):
                self.report.overlaps.append(found)
        held_out = len(train.held)
        self.report.sources.append(
            Source(
                train.task,
                train.format,
                len(train.rows) - held_out,
                len(validation.rows) if validation else held_out,
                train.held_out,
                self._lengths(train, [row.wholes for row in rows if row.wholes]),
            )
        )

    def _seen(self, table: Table, contents: Iterable[frozenset[str]] = ()) -> Iterator[Seen]:
        """What overlap and lengths need of every good row; what is wrong with the others goes into
        the report.
        """
        if mistakes := list(column_mistakes(table)):
            told = {mistake.place for mistake in self.report.mistakes}  # of the training split
            self.report.mistakes += [m for m in mistakes if m.place not in told]
            return
        looker, step = Looker(table), lengths.step(len(table.rows))
        marked = frozenset(table.rows.column_names) in contents
        for number, raw, row in looker.shaped():
            said = texts(table, row) if row is not None else None
            if said is not None:
                asked, wholes = said
                content = mark(raw) if marked else None
                yield Seen(number, normal(asked), content, wholes if number % step == 0 else [])
        self.report.mistakes += looker.mistakes()

    def _lengths(self, table: Table, sample: list[list[str]]) -> Lengths | None:
        if self.tokenizer is None or not sample:
            return None
        found = lengths.measured(sample, self.tokenizer, self.suite.batch.max_length)
        if mistake := lengths.too_long(table, found):
            self.report.mistakes.append(mistake)
        return found
