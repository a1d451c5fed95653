"""The page that people send around: one HTML file that holds everything and asks no network for
anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench.analysis import Findings, Group
from bench.records.schema import BASE
from bench.report.html import facts, heat, pairs, spending, tuning
from bench.report.html.charts import Chart, bars, draws, lines, points
from bench.report.html.grid import Elsewhere, Grid, elsewhere, grid
from bench.report.html.words import general
from bench.report.table import reach_of

HERE = Path(__file__).parent
SCRIPTS = ("table.js", "charts.js", "page.js")


@dataclass(frozen=True)
class Part:
    """One group of rows, and everything that is told of it."""

    number: int
    group: Group
    grid: Grid
    reach: str
    """Which differences the table could have shown."""
    scatter: Chart | None
    any_two: Chart | None
    time: Chart | None
    memory: Chart | None
    tasks: heat.Heat | None
    ledger: Chart | None
    spending: spending.Spending | None
    elsewhere: list[Elsewhere]
    changes: Chart | None

    @property
    def tuned(self) -> bool:
        """Whether tuning was charged, which may be set aside in the bars."""
        return self.spending is not None and bars.TUNING in self.spending.purposes

    @property
    def charts(self) -> list[Chart]:
        return [
            c
            for c in (self.scatter, self.any_two, self.time, self.memory, self.ledger, self.changes)
            if c
        ]


@dataclass
class _Numbers:
    """What the page's own script reads: specifications, numbers that several pictures share, and
    those of the chooser.
    """

    charts: dict[str, Any] = field(default_factory=dict)
    datasets: dict[str, Any] = field(default_factory=dict)
    choosers: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, Any] = field(default_factory=dict)


def page(findings: Findings) -> str:
    """The report as one self-contained HTML file."""
    numbers = _Numbers()
    parts = [_part(group, number, numbers) for number, group in enumerate(findings.groups)]
    curves = lines.curves(findings.curve)
    searches = tuning.searches(findings.trials)
    if findings.curve:
        numbers.datasets[lines.DATA] = lines.points(findings.curve)
    every = [
        *(c for p in parts for c in p.charts),
        *curves,
        *(c for s in searches for c in s.charts),
    ]
    numbers.charts |= {chart.id: {"spec": chart.spec, "alt": chart.alt} for chart in every}
    given = facts.suite(findings)
    scripts = [
        *([_vega()] if every else []),
        *((HERE / "assets" / name).read_text(encoding="utf-8") for name in SCRIPTS),
    ]
    return _template().render(
        findings=findings,
        base=BASE,
        facts=facts.facts(findings, given),
        parts=parts,
        curves=curves,
        searches=searches,
        matrices=[heat.matrix(s) for s in findings.sequences],
        notes=facts.notes(findings, given),
        references=facts.references(given),
        failures=[row for row in findings.rows if row.status != "ok" or row.reason],
        objectives=[row for row in findings.rows if row.objectives],
        style=(HERE / "assets" / "page.css").read_text(encoding="utf-8"),
        scripts=scripts,
        policy=_policy(scripts),
        numbers=embedded(asdict(numbers)),
    )


def _part(group: Group, number: int, numbers: _Numbers) -> Part:
    rows = group.rows
    spent = spending.spending(rows)
    chooser = points.any_two(rows, f"any-two-{number}")
    if group.pairs:
        numbers.pairs[str(number)] = pairs.packed(group)
    if chooser:
        numbers.choosers[chooser[0].id] = chooser[1]
    return Part(
        number=number,
        group=group,
        grid=grid(group, number),
        reach=reach_of(group),
        scatter=points.learning_against_forgetting(rows, f"scatter-{number}"),
        any_two=chooser[0] if chooser else None,
        time=bars.time(rows, f"time-{number}"),
        memory=bars.memory(rows, f"memory-{number}"),
        tasks=heat.tasks(rows),
        ledger=bars.ledger(rows, spent, f"ledger-{number}") if spent else None,
        spending=spent,
        elsewhere=elsewhere(group),
        changes=draws.changes(rows, f"changes-{number}"),
    )


def embedded(value: Any) -> str:
    """JSON that nothing in it can end early: names come from plugins and suites."""
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


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"general": general}
    return environment.get_template("page.html")


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
    """Vega, Vega-Lite and Vega-Embed in one script, from the package that also draws the still
    pictures.
    """
    import altair
    import vl_convert

    version = "_".join(altair.SCHEMA_VERSION.split(".")[:2])
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
    return "(()=>{" + bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--") + "\n})()"
