"""The page that people send around: one HTML file that holds everything and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench.analysis import Analysis, Group, columns
from bench.analysis.words import general
from bench.records.schema import BASE
from bench.report.html import facts, heat, pairs, spending, tuning
from bench.report.html.charts import Chart, bars, draws, lines, points
from bench.report.html.grid import Grid, grid
from bench.report.table import reach_of
from bench.report.template import filled

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("table.js", "charts.js", "page.js")


@dataclass(frozen=True)
class Part:
    """One group of rows, and everything that the page shows of it."""

    number: int
    group: Group
    grid: Grid
    reach: str
    """What the comparison could not have found."""
    scatter: Chart | None
    time: Chart | None
    memory: Chart | None
    tasks: heat.Heat | None
    ledger: Chart | None
    spending: spending.Spending | None
    changes: Chart | None

    @property
    def charts(self) -> list[Chart]:
        every = (self.scatter, self.time, self.memory, self.ledger, self.changes)
        return [chart for chart in every if chart]


@dataclass
class _Numbers:
    """What the page's own script reads: charts, numbers that several of them share, those of the
    scatter plot's axes, and every pair of recipes.
    """

    charts: dict[str, Any] = field(default_factory=dict)
    datasets: dict[str, Any] = field(default_factory=dict)
    choosers: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, Any] = field(default_factory=dict)


def page(analysis: Analysis) -> str:
    """The report as one self-contained HTML file."""
    numbers = _Numbers()
    parts = [_part(group, number, numbers) for number, group in enumerate(analysis.groups)]
    curves = lines.curves(analysis.curve)
    searches = tuning.searches(analysis.trials)
    if analysis.curve:
        numbers.datasets[lines.DATA] = lines.points(analysis.curve)
    every = [c for part in (*parts, *searches) for c in part.charts] + curves
    numbers.charts |= {chart.id: {"spec": chart.spec, "alt": chart.alt} for chart in every}
    given = facts.suite(analysis)
    scripts = [
        *([_vega()] if every else []),
        *((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS),
    ]
    return filled(
        "bench.report.html",
        "page.html",
        analysis=analysis,
        base=BASE,
        facts=facts.facts(analysis, given),
        parts=parts,
        curves=curves,
        searches=searches,
        notes=facts.notes(analysis, given),
        references=facts.references(analysis),
        failures=[row for row in analysis.rows if row.status != "ok" or row.reason],
        objectives=[row for row in analysis.rows if row.objectives],
        style=(ASSETS / "page.css").read_text(encoding="utf-8"),
        scripts=scripts,
        policy=_policy(scripts),
        numbers=embedded(asdict(numbers)),
        measured=columns.measured,
        general=general,
        drawn=tuning.drawn,
        score=tuning.score,
    )


def _part(group: Group, number: int, numbers: _Numbers) -> Part:
    rows = group.rows
    spent = spending.spending(rows)
    scatter = points.scatter(rows, f"scatter-{number}")
    if group.pairs:
        numbers.pairs[str(number)] = pairs.packed(group)
    if scatter:
        numbers.choosers[scatter[0].id] = scatter[1]
    return Part(
        number=number,
        group=group,
        grid=grid(rows, number),
        reach=reach_of(group),
        scatter=scatter[0] if scatter else None,
        time=bars.time(rows, f"time-{number}"),
        memory=bars.memory(rows, f"memory-{number}"),
        tasks=heat.tasks(rows),
        ledger=bars.ledger(rows, spent, f"ledger-{number}") if spent else None,
        spending=spent,
        changes=draws.changes(rows, f"changes-{number}"),
    )


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
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, from the package that also draws the
    picture for Markdown.
    """
    import vl_convert

    version = vl_convert.get_vegalite_versions()[-1]
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
    return "(()=>{" + bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--") + "\n})()"
