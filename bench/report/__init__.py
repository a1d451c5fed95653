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
    """What a reader gives to `bench run` for these results: the file under suites/ beside the
    results that has a suite of this name, rather in a folder of the same name, then in no folder;
    else the name that it should have.
    """
    folder, named = store.folder, f"{store.folder.name}.yaml"
    if not isinstance(folder, Path):
        return named
    folder = folder.resolve()
    home = next((one for one in folder.parents if (one / "suites").is_dir()), None)
    if home is None:
        return named
    found = sorted((home / "suites").rglob(named))
    found.sort(key=lambda file: (file.parent.name != folder.parent.name, len(file.parts)))
    for file in found:
        if f"suite: {folder.name}" in file.read_text(encoding="utf-8").splitlines():
            return file.relative_to(home).as_posix()
    return named


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
