"""A folder of plain files that any web host can serve: an index, and each suite's report with the
records behind it.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from bench.publish import every_eval_ever
from bench.publish.gather import Published, copy
from bench.report.html import ASSETS
from bench.report.template import filled
from bench.system.errors import UserError
from bench.system.files import write_atomically

SHOWN = (".md", ".csv", ".tex", ".svg", ".png")
# of files in an archive, so that equal records give an equal archive
LONG_AGO = (1980, 1, 1, 0, 0, 0)


def build(suites: list[Published], results: Path, to: Path) -> list[Path]:
    """Write the site into a folder, over what an earlier one left there; gives the pages. Links in
    it are relative.
    """
    if to.resolve() == results.resolve() or any(
        to.resolve().is_relative_to(suite.folder.resolve()) for suite in suites
    ):
        raise UserError(
            f"--to {to} lies in the results that it would publish; give a folder beside them, such"
            " as site"
        )
    pages = [_suite(suite, to / suite.name) for suite in suites]
    # Pages services would leave out names that begin with an underscore.
    write_atomically(to / ".nojekyll", "")
    style = (ASSETS / "page.css").read_text(encoding="utf-8")
    index = filled("bench.publish", "index.html", suites=suites, style=style)
    write_atomically(to / "index.html", index)
    return [to / "index.html", *pages]


def _suite(suite: Published, folder: Path) -> Path:
    report = suite.folder / "report"
    copy(report / "report.html", folder / "index.html")
    for file in sorted(report.iterdir()):
        if file.suffix in SHOWN:
            copy(file, folder / file.name)
    records = suite.copy_to(folder, "suite.yaml")
    every_eval_ever.write(suite, folder)
    write_atomically(folder / "records.zip", _archive(records))
    return folder / "index.html"


def _archive(records: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in records:
            entry = zipfile.ZipInfo(f"records/{file.name}", LONG_AGO)
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
