"""The files of a report, made from records alone."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..findings import Findings, find
from ..rows import frame
from ..store import Store, write_atomically
from . import document, plot, table
from .latex import latex
from .page import page


def write(store: Store, together: bool = False) -> Findings:
    """Write the tables, the page and the pictures into the report folder; gives what they tell.

    Rows of different settings stand in one table only where `together` says so.
    """
    findings = find(store, together)
    if not findings.groups:
        raise UserError(f"{store.folder} holds no records yet")
    folder: Path = store.report
    rows = findings.groups[0].rows
    write_atomically(folder / "table.csv", frame(findings.whole_rows()).to_csv(index=False))
    write_atomically(folder / "summary.md", table.summary(rows))
    pictures = [file.name for file in plot.learning_against_forgetting(rows, folder)]
    write_atomically(folder / "table.md", document.markdown(findings, pictures))
    write_atomically(folder / "table.tex", latex(findings))
    write_atomically(folder / "report.html", page(findings))
    return findings
