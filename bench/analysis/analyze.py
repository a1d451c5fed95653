"""From records to an analysis: rows in comparable groups, statistics, and the sentences that
follow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.analysis import again, caveats, course, headline
from bench.analysis.answers import Answers
from bench.analysis.groups import environment, group, grouped, rows_of, what_differs
from bench.analysis.shape import Analysis
from bench.records.schema import BASE, Purpose, Record
from bench.records.store import Store

LEVEL = 0.95


def analyze(store: Store, together: bool = False) -> Analysis:
    """Everything that the records of a results folder say. With `together`, all rows stand in one
    table even where their comparison keys differ.
    """
    records = store.planned()
    rows = [r for r in records if r.purpose is Purpose.ROW]
    if not rows:
        return Analysis(store.folder.name, "", [], LEVEL)
    answers = Answers(store)
    parts = grouped(rows, together)
    groups = []
    for part in parts:
        found = rows_of(part, answers)
        caveats.mark(found)
        groups.append(
            group(found, answers, LEVEL, "" if part is parts[0] else what_differs(part, parts[0]))
        )
        course.charge_tuning(groups[-1].rows, records)
    repeated = again.repeated(store, rows, answers)
    trials = course.trials(records)
    main = groups[0]
    return Analysis(
        name=store.folder.name,
        headline=headline.headline(main, parts[0][0].target, LEVEL),
        groups=groups,
        level=LEVEL,
        suite=_read(store, "suite.yaml"),
        trials=trials,
        curve=course.curve(records, answers, LEVEL),
        sequences=course.sequences(records),
        ranking=headline.ranking(main, LEVEL),
        caveats=caveats.sentences(groups, records, trials, len(store.asked()) - len(records)),
        provenance=_provenance(records)
        | {f"{recipe}, once more": one.told() for recipe, one in repeated.items()},
        again=repeated,
    )


def _read(store: Store, name: str) -> str:
    file = store.folder / name
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _provenance(records: Sequence[Record]) -> dict[str, str]:
    """Where the numbers come from, as far as the records say."""
    base = next((r for r in records if r.recipe == BASE), records[0])
    commits = dict.fromkeys(r.git.short for r in records if r.git)
    told = {
        "records": str(len(records)),
        "finished": _span([r.finished_at for r in records if r.finished_at]),
        "commit": ", ".join(commits),
        "measured with": " | ".join(dict.fromkeys(filter(None, (environment(r) for r in records)))),
        "concurrent runs": ", ".join(
            dict.fromkeys(str(r.concurrent_runs) for r in records if r.concurrent_runs)
        ),
        "model": base.fingerprints.model or "",
        "data": ", ".join(f"{name} {value}" for name, value in base.fingerprints.tasks.items()),
        "plugins": ", ".join(
            sorted({origin for r in records for origin in r.origin.split(", ") if origin})
        ),
        "decoding": json.dumps((base.evaluation and base.evaluation.generation_config) or {}),
    }
    return {name: text for name, text in told.items() if text}


def _span(times: list[str]) -> str:
    days = sorted({time[:10] for time in times})
    return f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(days)
