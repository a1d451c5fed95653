"""The page that people send around: one HTML file that holds everything and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from bench.analysis import Analysis, Group, columns
from bench.analysis.words import amount, general, percent
from bench.records.schema import BASE
from bench.report.cut import MOST_ROWS, cut, told
from bench.report.html import choose, facts, tables, tuning
from bench.report.html.charts import Chart, bars, lines, points
from bench.report.html.families import colour_of
from bench.report.html.vega import vega
from bench.report.table import reach_of, spent_share
from bench.report.template import filled

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("table.js", "choose.js", "charts.js", "page.js")
WRITERS = {
    "amount": amount,
    "change": tables.change,
    "counted": tables.counted,
    "currencies": tables.currencies,
    "colour_of": colour_of,
    "drawn": tuning.drawn,
    "general": general,
    "measured": columns.measured,
    "percent": percent,
    "purposes": tables.purposes,
    "score": tuning.score,
    "spent_share": spent_share,
}
"""What the templates write numbers with."""


MOST_BYTES = 2_000_000
"""Of a page: mail and browsers take no more gladly."""
AIM = 0.97
"""Share of this that a page with fewer rows is made for."""
DIGITS = 6
"""Of a number behind a chart."""


def page(analysis: Analysis, suite_file: str = "suite.yaml") -> str:
    """The report as one self-contained HTML file, with so many rows that it stays small;
    `suite_file` is what a reader would run again.
    """
    given, most = facts.suite(analysis), min(MOST_ROWS, max(1, len(analysis.rows)))
    about = facts.facts(analysis, given)
    before = (0, len(vega()))  # rows and bytes: the script that draws is nearly half of a page
    while True:
        text = _page(cut(analysis, most), suite_file, given, about).encode()
        if len(text) <= MOST_BYTES or most == 1:
            return text.decode()
        per_row = (len(text) - before[1]) / (most - before[0])
        before, over = (most, len(text)), len(text) - AIM * MOST_BYTES
        most = max(1, min(most - math.ceil(over / max(1.0, per_row)), most - 1))


def _page(analysis: Analysis, suite_file: str, given: dict[str, Any], about: dict[str, str]) -> str:
    parts = [
        {
            **_part(group, number),
            "choose": choose.chooser(group, suite_file, analysis.level, analysis.again),
        }
        for number, group in enumerate(analysis.groups)
    ]
    curves, paths = lines.curves(analysis.curve), lines.paths(analysis.curve)
    searches = tuning.searches(analysis.trials)
    charts = [thing for part in parts for thing in part.values() if isinstance(thing, Chart)]
    charts += [chart for search in searches for chart in search.charts] + curves + paths
    # What the page's own script reads.
    numbers = {
        "charts": {chart.id: {"spec": chart.spec, "alt": chart.alt} for chart in charts},
        "datasets": {lines.DATA: lines.points(analysis.curve)} if analysis.curve else {},
        "choosers": {chart.id: chart.choices for chart in charts if chart.choices},
        "pairs": {
            str(part["number"]): tables.pairs(part["group"])
            for part in parts
            if part["group"].pairs
        },
        "choose": {str(part["number"]): part["choose"].numbers for part in parts if part["choose"]},
    }
    scripts = [
        *([vega()] if charts else []),
        *((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS),
    ]
    return filled(
        "bench.report.html",
        "page.html",
        analysis=analysis,
        base=BASE,
        facts=about,
        left_out=told(analysis),
        parts=parts,
        curves=curves,
        paths=paths,
        searches=searches,
        notes=facts.notes(analysis, given),
        references=facts.references(analysis),
        failures=[row for row in analysis.rows if row.status != "ok" or row.reason],
        objectives=[row for row in analysis.rows if row.objectives],
        style=(ASSETS / "page.css").read_text(encoding="utf-8"),
        scripts=scripts,
        policy=_policy(scripts),
        numbers=embedded(numbers),
        **WRITERS,
    )


def _part(group: Group, number: int) -> dict[str, Any]:
    """One group of rows, and everything that the page shows of it."""
    rows = group.rows
    return {
        "number": number,
        "group": group,
        "grid": tables.grid(rows, number),
        "reach": reach_of(group),
        "scatter": points.scatter(rows, f"scatter-{number}"),
        "time": bars.time(rows, f"time-{number}"),
        "memory": bars.memory(rows, f"memory-{number}"),
        "tasks": tables.tasks(rows),
        "ledger": bars.ledger(rows, f"ledger-{number}"),
        "spending": tables.spending(rows),
        "changes": tuning.changes(rows, f"changes-{number}"),
    }


def embedded(value: Any) -> str:
    """JSON that no name in it can end early: names come from plugins and suites."""
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _finite(value: Any) -> Any:
    """JSON knows no infinity and no nan: a loss that diverged has no place on an axis."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _policy(scripts: list[str]) -> str:
    """A content security policy under which only the page's own scripts run, and nothing is
    fetched.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
