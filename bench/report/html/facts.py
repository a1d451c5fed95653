"""What a suite says of itself, and the settings of its recipes."""

from __future__ import annotations

import math
from typing import Any

import yaml

from bench.analysis import Analysis
from bench.analysis.rows import Row
from bench.analysis.words import amount
from bench.records.schema import BASE
from bench.system.yaml import LOADER


def suite(analysis: Analysis) -> dict[str, Any]:
    """The suite as data; empty where there is none."""
    loaded = yaml.load(analysis.suite, LOADER) if analysis.suite else None
    return loaded if isinstance(loaded, dict) else {}


def facts(analysis: Analysis, given: dict[str, Any]) -> dict[str, str]:
    """Model, tasks, budget, seeds and rows, as far as they are known."""
    rows = analysis.rows
    told = {
        "model": _model(given.get("model")),
        "target": _names(given.get("target")),
        "retained": _names(given.get("retain")),
        "budget": _budgets(rows),
        "seeds": str(max((row.seeds for row in rows), default=0)),
        "split": str(given.get("split") or ""),
        "rows": _count(rows),
        "intervals": f"{100 * analysis.level:g}%" if any(r.intervals for r in rows) else "",
    }
    return {name: text for name, text in told.items() if text}


def _count(rows: list[Row]) -> str:
    trained = [row for row in rows if row.recipe != BASE]
    failed = sum(row.status != "ok" for row in trained)
    return (
        f"{len(trained)} recipes"
        + (" and the base" if len(trained) < len(rows) else "")
        + (f"; {failed} not ok" if failed else "")
    )


def _model(model: Any) -> str:
    if isinstance(model, dict):
        return str(model.get("path") or ", ".join(f"{key} {value}" for key, value in model.items()))
    return str(model or "")


def _names(given: Any) -> str:
    return ", ".join(map(str, given)) if isinstance(given, list) else str(given or "")


def _budgets(rows: list[Row]) -> str:
    known = (row.budget for row in rows if not math.isnan(row.budget[1]))
    return " or ".join(dict.fromkeys(f"{amount(size)} {currency}" for currency, size in known))


def notes(analysis: Analysis, given: dict[str, Any]) -> list[dict[str, str]]:
    """Every recipe with its family and settings: as the suite resolves them, or as the search chose
    them.
    """
    entries = [e for e in given.get("methods") or [] if isinstance(e, dict) and "as" in e]
    shown = {row.recipe for row in analysis.rows}
    written = {
        e["as"]: _flow({k: v for k, v in e.items() if k != "as"})
        for e in entries
        if e["as"] in shown
    }
    chosen = {
        t.recipe: f"as {t.recipe}, with {_flow(t.drawn)}" for t in analysis.trials if t.chosen
    }
    made = []
    for row in {row.recipe: row for row in analysis.rows if row.recipe != BASE}.values():
        told = chosen.get(row.tuned_from) if row.tuned_from else written.get(row.recipe)
        made.append({"recipe": row.recipe, "family": row.family, "settings": told or ""})
    return made if any(note["family"] or note["settings"] for note in made) else []


def _flow(settings: dict[str, Any]) -> str:
    return yaml.safe_dump(
        settings, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True
    ).strip()


def references(analysis: Analysis) -> dict[str, str]:
    """The paper or implementation that each method follows, as the records name it."""
    return dict(sorted({k: v for row in analysis.rows for k, v in row.references.items()}.items()))
