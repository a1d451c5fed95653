"""The files of a report, made from records alone."""

from __future__ import annotations

from pathlib import Path

from bench.analysis import Findings, find
from bench.analysis.rows import frame
from bench.errors import UserError
from bench.records.store import Store, write_atomically
from bench.report import markdown, scatter, table
from bench.report.html import page
from bench.report.latex import latex


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
    pictures = [file.name for file in scatter.learning_against_forgetting(rows, folder)]
    write_atomically(folder / "table.md", markdown.markdown(findings, pictures))
    write_atomically(folder / "table.tex", latex(findings))
    write_atomically(folder / "report.html", page(findings))
    return findings
