"""The files of a report, made from records alone."""

from __future__ import annotations

from pathlib import Path

from bench.analysis import Analysis, analyze
from bench.analysis.frame import frame
from bench.records.store import Store
from bench.report import markdown, scatter, table
from bench.report.cut import cut, told
from bench.report.html import page
from bench.report.latex import latex
from bench.system.errors import UserError
from bench.system.files import write_atomically


def suite_file(store: Store) -> str:
    """What a reader gives to `bench run` for these results: a file under suites/ beside the
    results, where the one of this name lies there; else the name that it should have.
    """
    folder = store.folder
    if not isinstance(folder, Path):
        return f"{folder.name}.yaml"
    folder = folder.resolve()
    home = next((one for one in folder.parents if (one / "suites").is_dir()), None)
    inner = folder.parent.name
    found = sorted((home / "suites").rglob(f"{folder.name}.yaml")) if home else []
    found.sort(key=lambda file: file.parent.name != inner)
    return found[0].relative_to(home).as_posix() if home and found else f"{folder.name}.yaml"


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
    write_atomically(folder / "report.html", page(analysis, suite_file(store)))
    return analysis
