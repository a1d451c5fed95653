"""What a suite says about itself, and what its methods follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import yaml

from bench.analysis import Findings
from bench.analysis.rows import Row
from bench.methods import registry
from bench.records.schema import BASE
from bench.report.html.words import amount

Fact = tuple[str, str]


@dataclass(frozen=True)
class Note:
    """A recipe: its family and settings."""

    recipe: str
    family: str
    settings: str


@dataclass(frozen=True)
class Reference:
    """What a method or merger follows, and the package that it comes from."""

    name: str
    reference: str
    origin: str


def suite(findings: Findings) -> dict[str, Any]:
    """The suite as data; empty where there is none."""
    loaded = yaml.safe_load(findings.suite) if findings.suite else None
    return loaded if isinstance(loaded, dict) else {}


def facts(findings: Findings, given: dict[str, Any]) -> list[Fact]:
    """Model, tasks, budget, seeds and rows, as far as they are known."""
    rows = findings.rows
    trained = [row for row in rows if row.recipe != BASE]
    failed = [row for row in trained if row.status != "ok"]
    count = (
        f"{len(trained)} recipes"
        + (" and the base" if len(trained) < len(rows) else "")
        + (f"; {len(failed)} not ok" if failed else "")
    )
    seeds = given.get("seeds")
    told = [
        ("model", _model(given.get("model"))),
        ("target", _names(given.get("target"))),
        ("retained", _names(given.get("retain"))),
        ("budget", _budgets(rows)),
        (
            "seeds",
            (
                f"{len(seeds)} ({_names(seeds)})"
                if isinstance(seeds, list) and len(seeds) > 1
                else str(max((row.seeds for row in rows), default=0))
            ),
        ),
        ("split", str(given.get("split") or "")),
        ("rows", count),
        ("intervals", f"{100 * findings.level:g}%" if any(row.intervals for row in rows) else ""),
    ]
    return [(name, text) for name, text in told if text]


def _model(model: Any) -> str:
    if isinstance(model, dict):
        return str(model.get("path") or ", ".join(f"{key} {value}" for key, value in model.items()))
    return str(model or "")


def _names(given: Any) -> str:
    return ", ".join(map(str, given)) if isinstance(given, list) else str(given or "")


def _budgets(rows: list[Row]) -> str:
    return " or ".join(
        dict.fromkeys(
            f"{amount(row.budget[1])} {row.budget[0]}"
            for row in rows
            if not math.isnan(row.budget[1])
        )
    )


def notes(findings: Findings, given: dict[str, Any]) -> list[Note]:
    """Every recipe with its settings: as the suite resolves them, or as the search chose them."""
    entries = {
        str(e["as"]): {k: v for k, v in e.items() if k != "as"}
        for e in _entries(given.get("methods"))
        if "as" in e
    }
    chosen = {trial.recipe: trial.drawn for trial in findings.trials if trial.chosen}
    rows = {row.recipe: row for row in findings.rows if row.recipe != BASE}
    made = [Note(row.recipe, row.family, _settings(row, entries, chosen)) for row in rows.values()]
    return made if any(note.family or note.settings for note in made) else []


def _settings(
    row: Row, entries: dict[str, dict[str, Any]], chosen: dict[str, dict[str, Any]]
) -> str:
    if row.tuned_from:
        return (
            f"as {row.tuned_from}, with {_flow(chosen[row.tuned_from])}"
            if row.tuned_from in chosen
            else ""
        )
    return _flow(entries[row.recipe]) if row.recipe in entries else ""


def _flow(settings: dict[str, Any]) -> str:
    return yaml.safe_dump(
        settings, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True
    ).strip()


def references(given: dict[str, Any]) -> list[Reference]:
    """Of every method and merger that the suite names, as far as it is installed here."""
    names = sorted(_named(given.get("methods")))
    if not names:
        return []
    known: dict[str, registry.Plugin[Any]] = {**registry.mergers(), **registry.plugins()}
    found = [known[name] for name in names if name in known]
    return [Reference(p.name, p.method.reference, p.origin) for p in found if p.method is not None]


def _entries(given: Any) -> list[dict[str, Any]]:
    return [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []


def _named(given: Any) -> set[str]:
    """Names in the places where a suite may name a method or merger: items of lists, and `by`."""
    if isinstance(given, list):
        return {
            name for item in given for name in ([item] if isinstance(item, str) else _heads(item))
        }
    return set()


def _heads(entry: Any) -> set[str]:
    if not isinstance(entry, dict):
        return set()
    found: set[str] = set()
    for name, settings in entry.items():
        if name == "as":
            continue
        found.add(str(name))
        if isinstance(settings, dict):
            by = settings.get("by")
            found |= {by} if isinstance(by, str) else set(by) if isinstance(by, dict) else set()
            found |= (
                set().union(*(_named(value) for value in settings.values())) if settings else set()
            )
    return found
