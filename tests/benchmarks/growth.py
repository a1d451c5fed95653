"""Seconds and memory of planning, resuming and reporting as suites grow, into results/benchmarks.

Records are those of a published run, varied: nothing is trained.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.execution.run_suite import known_runs
from bench.records.schema import BASE, Record
from bench.records.store import Store
from bench.report.table import grid
from bench.suite.file import load, resolved
from bench.suite.plan import Run
from bench.system.files import write_atomically

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "results/benchmarks"
PUBLISHED = {BASE: "base-s0-3d8bd29b7b", "lora": "lora-s0-cf6bb9b3c8"}
SEEDS = 3
PLANNED = ((11, 91), (100, 100), (1000, 100))
"""Recipes and seeds."""
RECORDS = (1_000, 3_000, 10_000)
FLIPPED = 0.05  # share of items that a made-up run answers otherwise


@dataclass(frozen=True)
class Figure:
    """What one command took."""

    command: str
    runs: int
    recipes: int
    seconds: float
    cpu_seconds: float
    peak_mebibytes: float
    page_bytes: int | None = None


def write_suite(file: Path, recipes: int, seeds: int) -> Path:
    """A suite of so many recipes, which differ in the learning rate alone."""
    head = (
        "suite: growth\nmodel: tiny\ntarget: tiny/smallest\n"
        "retain: [tiny/people, tiny/sort, tiny/add, tiny/largest]\n"
        f"drift: tiny/text\nbudget: {{tokens: 150k}}\nseeds: {seeds}\nmethods:\n"
    )
    rates = (1e-4 * (1 + number / recipes) for number in range(recipes))
    entries = (f"  - lora: {{lr: {rate:.9f}}}\n    as: lora-{n}\n" for n, rate in enumerate(rates))
    write_atomically(file, head + "".join(entries))
    return file


def finish(file: Path, results: Path) -> Store:
    """Write the results of a suite as if all of its runs had ended well."""
    suite = load(file)
    store = Store(results / suite.suite)
    runs = known_runs(suite, "cpu", store)
    store.begin(resolved(suite), [run.id for run in runs])
    published = Store(ROOT / "results/quickstart")
    samples = {
        name: (published.get(run), pq.read_table(published.items_file(run)))
        for name, run in PUBLISHED.items()
    }
    scratch, chance = results / "items.parquet", np.random.default_rng(0)
    for run in runs:
        record, items = samples[BASE if run.recipe == BASE else "lora"]
        record, items = _varied(record, items, run, chance)
        pq.write_table(items, scratch)
        store.put(record, scratch)
    return store


def _varied(
    record: Record, items: pa.Table, run: Run, chance: np.random.Generator
) -> tuple[Record, pa.Table]:
    """A record and its items as those of another run, some answers the other way round."""
    columns = items.to_pydict()
    scores = np.array(columns["score"])
    if run.recipe != BASE:
        scores = np.abs(scores - (chance.random(len(scores)) < FLIPPED))
    tasks = np.array(columns["task"])
    body = record.model_dump(mode="json")
    for name, score in body["evaluation"]["scores"].items():
        score["value"] = float(scores[tasks == name].mean())
    body |= {
        "id": run.id,
        "suite": "growth",
        "comparison_key": run.setting,
        "fingerprints": run.fingerprints,
        "recipe": run.recipe,
        "parameters": run.parameters,
        "origin": run.origin,
        "seed": run.seed,
    }
    place = items.column_names.index("score")
    changed = items.set_column(place, "score", pa.array(scores, items.schema.field("score").type))
    return Record.model_validate(body), changed


def timed(*arguments: str | Path) -> tuple[float, float, float]:
    """Wall-clock seconds, CPU seconds and peak MiB of a bench command; it must not fail."""
    command = [str(Path(sys.executable).with_name("bench")), *map(str, arguments)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench {' '.join(map(str, arguments))} failed")
    seconds = time.perf_counter() - started
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def planned(folder: Path) -> Iterable[Figure]:
    for recipes, seeds in PLANNED:
        file = write_suite(folder / "planned.yaml", recipes, seeds)
        took = timed("plan", file, "--results", folder / "none")
        yield Figure("bench plan", recipes * seeds + 1, recipes, *took)


def finished(folder: Path) -> Iterable[Figure]:
    for count in RECORDS:
        recipes, results = count // SEEDS, folder / str(count)
        file = write_suite(folder / f"{count}.yaml", recipes, SEEDS)
        store = finish(file, results)
        runs = len(store.asked())
        took = timed("report", str(store.folder))
        page = len((store.report / "report.html").read_bytes())
        yield Figure("bench report", runs, recipes, *took, page)
        for what in ("all finished, by others", "all finished, shown before"):
            took = timed("run", file, "--results", results)
            yield Figure(f"bench run, {what}", runs, recipes, *took)


def markdown(figures: Iterable[Figure], machine: str) -> str:
    head = ["command", "runs", "recipes", "seconds", "CPU seconds", "peak MiB", "page, kB"]
    body = [
        [
            f.command,
            f"{f.runs:,}",
            f"{f.recipes:,}",
            f"{f.seconds:.1f}",
            f"{f.cpu_seconds:.1f}",
            f"{f.peak_mebibytes:,.0f}",
            f"{f.page_bytes / 1000:,.0f}" if f.page_bytes else "–",
        ]
        for f in figures
    ]
    return (
        "# Planning, resuming and reporting as suites grow\n\n"
        f"{grid(head, body)}\n\n"
        f"Each line is one process, imports included, on {machine}. Where other programs use the"
        " machine, CPU seconds tell more than seconds. `make bench` measures this again.\n"
    )


def main() -> None:
    """Measure, and write growth.json and growth.md."""
    with tempfile.TemporaryDirectory() as folder:
        figures = [*planned(Path(folder)), *finished(Path(folder))]
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    told = {"machine": machine, "figures": [asdict(figure) for figure in figures]}
    write_atomically(OUT / "growth.json", json.dumps(told, indent=1) + "\n")
    write_atomically(OUT / "growth.md", markdown(figures, machine))


if __name__ == "__main__":
    main()
