"""One page over all published results, made from their records: what each suite asked, what came
out, and how far to trust it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.analysis import Analysis, Group, analyze, columns
from bench.analysis.caveats import no_gain
from bench.analysis.rows import Row
from bench.analysis.words import listed
from bench.publish import dependence, pictures
from bench.publish.adapters import named_start
from bench.publish.gather import suites_in
from bench.records.schema import BASE
from bench.records.store import Store
from bench.report import suite_file, table
from bench.report.html import facts
from bench.report.scatter import NAME as LEARNING_FORGETTING
from bench.report.template import filled
from bench.system.files import write_atomically

SHOWN = ("target_accuracy", "forgetting", "peak_train_bytes", "train_seconds", "artifact_bytes")
MOST_ROWS = 8
"""Of a suite; the report beside its records has all of them."""
SENTENCES = 2
"""Of the comment that a suite file opens with."""


@dataclass(frozen=True)
class Section:
    """What the page says of one suite."""

    name: str
    analysis: Analysis
    asked: str
    file: str
    kept: str
    """What `--results` says to find these."""
    model: str
    """Its shortest name."""
    facts: dict[str, str]
    table: str
    hidden: int
    """Rows of the first table that are left to the report."""
    best: str
    report: str
    """Link to its table."""
    pictures: list[tuple[str, str]]
    """What each shows, and the link to it."""
    dependence: list[str]


def write(results: Path, to: Path) -> list[Path]:
    """Write the page, and its pictures into a folder of its name beside it; gives the files.
    UserError where there are no results.
    """
    # those deeper down first: what stands in a folder of its own is on a model of its own
    folders = sorted(suites_in(results), key=lambda folder: -len(folder.parts))
    drawn: dict[Path, str] = {}
    sections = [_section(folder, results, to, drawn) for folder in folders]
    text = filled(
        "bench.publish",
        "overview.md",
        sections=[section for section in sections if section is not None],
        anchor=lambda name: re.sub(r"[^\w-]", "", name.lower().replace(" ", "-")),
        escaped=table.escaped,
        grid=table.grid,
        reach_of=table.reach_of,
        command=f"bench overview {results.name} {to.parent.name}/{to.name}",
    )
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    for file, svg in drawn.items():
        write_atomically(file, svg)
    write_atomically(to, text)
    return [to, *drawn]


def _section(folder: Path, results: Path, to: Path, drawn: dict[Path, str]) -> Section | None:
    store = Store(folder)
    analysis = analyze(store)
    if not analysis.groups:
        return None
    rows = analysis.groups[0].rows
    name = folder.relative_to(results).as_posix()
    trained = [row for row in rows if row.recipe != BASE]
    shown = [*(row for row in rows if row.recipe == BASE), *trained[:MOST_ROWS]]
    file, given = suite_file(store), facts.suite(analysis)
    whole, short = _model(given)
    return Section(
        name,
        analysis,
        _asked(folder, file),
        file,
        folder.relative_to(results.parent).parent.as_posix(),
        short,
        facts.facts(analysis, given)
        | {"model": whole, "searched": _searched(given)}
        | {f"{recipe}, once more": one.told() for recipe, one in analysis.again.items()},
        _table(shown, rows),
        len(trained[MOST_ROWS:]),
        _best(analysis.groups[0], trained),
        _link(folder / "report/table.md", to),
        _pictures(folder / "report", analysis, rows, to, name.replace("/", "-"), drawn),
        _dependence(analysis, rows),
    )


def _link(file: Path, page: Path) -> str:
    return Path(os.path.relpath(file, page.parent)).as_posix()


def _asked(folder: Path, file: str) -> str:
    """The first sentences of the comment that opens a suite file; empty where it has none."""
    home = next((one for one in folder.resolve().parents if (one / file).is_file()), None)
    if home is None:
        return ""
    lines = (home / file).read_text(encoding="utf-8").splitlines()
    first = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comment = " ".join(line.removeprefix("#").strip() for line in lines[:first])
    return " ".join(re.split(r"(?<=[.?!])\s+(?=[A-Z])", comment)[:SENTENCES])


def _model(given: dict[str, Any]) -> tuple[str, str]:
    """What the start of a suite is called in full, and its shortest name."""
    model = given.get("model")
    if not isinstance(model, dict):
        return "not known", "not known"
    whole, hub_id = named_start(model)
    return whole, hub_id or whole


def _searched(given: dict[str, Any]) -> str:
    if not given:
        return "not known"
    tuning = given.get("tuning")
    if not tuning:
        return "no"
    return f"{tuning['trials']} trials per recipe, each with {tuning['share']:.0%} of the budget"


def _table(shown: list[Row], rows: list[Row]) -> str:
    measured = [c for c in columns.table(rows) if c.name in SHOWN]
    head = table.heads(rows, [c.title_and_unit for c in measured])
    return table.grid(head, table.lines(shown, measured))


def _best(group: Group, trained: list[Row]) -> str:
    """The best row and those tied with it."""
    scored = [row for row in trained if "target_accuracy" in row.means]
    best = next(iter(scored), None)
    if best is None:
        return "none"
    if len(no_gain(group)) == len(scored):
        return "none above the base"
    tied = [r.recipe for r in trained if r is not best and r.ties_with(best)]
    return best.recipe + (f", tied with {listed(tied, 3)}" if tied else "")


def _pictures(
    report: Path, analysis: Analysis, rows: list[Row], to: Path, name: str, drawn: dict[Path, str]
) -> list[tuple[str, str]]:
    found = []
    learned = report / f"{LEARNING_FORGETTING}.svg"
    if learned.is_file():
        found.append(("Target accuracy against forgetting", _link(learned, to)))
    seeds, rates = dependence.on_seed(rows), dependence.on_rate(rows)
    draws = dependence.on_draw(analysis)
    made = {
        "budget": ("Target accuracy by share of the budget", pictures.budget(analysis.curve)),
        "path": (
            "Forgetting by target accuracy, from share to share of the budget",
            pictures.path(analysis.curve),
        ),
        "price": (
            "Training time and peak memory per point gained on the base",
            pictures.price(rows),
        ),
        "rates": ("Target accuracy by learning rate", pictures.rates(rates, True) if rates else ""),
        "draws": (
            "Target accuracy on validation data by learning rate, over the draws of the search",
            pictures.rates(draws, False) if draws else "",
        ),
        "seeds": ("Target accuracy of each seed", pictures.seeds(seeds) if seeds else ""),
    }
    for kind, (title, svg) in made.items():
        if svg:
            file = to.with_suffix("") / f"{name}-{kind}.svg"
            drawn[file] = svg
            found.append((title, _link(file, to)))
    return found


def _dependence(analysis: Analysis, rows: list[Row]) -> list[str]:
    """How much the order depends on the rate and on the seed, a sentence each."""
    told = {
        "Over the learning rates that were tried, {} of {} pairs of methods change their order.": (
            dependence.on_rate(rows)
        ),
        "Over the draws of the search, on validation data, {} of {} pairs of recipes with one"
        " learning rate change their order.": dependence.on_draw(analysis),
        "From seed to seed, {} of {} pairs of rows change their order.": dependence.on_seed(rows),
    }
    return [text.format(f.changing, f.pairs) for text, f in told.items() if f is not None]
