"""Tables and plots made from records alone."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..rows import Row, frame, rows
from ..store import Store, write_atomically
from . import plot, table


def write(store: Store) -> list[Row]:
    """Write table.md, summary.md, table.csv and the pictures into the report folder; gives the rows."""
    found = rows(store)
    if not found:
        raise UserError(f"{store.folder} holds no records yet")
    folder: Path = store.report
    write_atomically(folder / "table.csv", frame(found).to_csv(index=False))
    write_atomically(folder / "summary.md", table.summary(found))
    pictures = plot.learning_against_forgetting(found, folder)
    shown = f"\n![Target accuracy against forgetting, one point per method]({plot.NAME}.svg)\n" if pictures else ""
    write_atomically(folder / "table.md", f"# {store.folder.name}\n\n{table.markdown(found)}{shown}")
    return found
