"""The files of a report, made from records alone."""

from __future__ import annotations

from bench.analysis import Analysis, analyze
from bench.analysis.rows import frame
from bench.records.store import Store
from bench.report import markdown, scatter, table
from bench.report.cut import cut, told
from bench.report.html import page
from bench.report.latex import latex
from bench.system.errors import UserError
from bench.system.files import write_atomically


def write(store: Store, together: bool = False) -> Analysis:
    """Write the tables, the page and the pictures into the report folder; gives the analysis that
    they show. With `together`, all rows stand in one table even where their comparison keys differ.
    UserError where there is no record.
    """
    analysis = analyze(store, together)
    if not analysis.groups:
        raise UserError(f"{store.folder} holds no records yet")
    folder = store.report
    shown = cut(analysis)
    rows = shown.groups[0].rows
    write_atomically(folder / "table.csv", frame(analysis.whole_rows()).to_csv(index=False))
    write_atomically(
        folder / "summary.md",
        table.summary(rows) + (f"\n{told(shown)}\n" if shown.left_out else ""),
    )
    pictures = [file.name for file in scatter.learning_against_forgetting(rows, folder)]
    write_atomically(folder / "table.md", markdown.markdown(shown, pictures))
    write_atomically(folder / "table.tex", latex(shown))
    write_atomically(folder / "report.html", page(analysis))
    return analysis
