"""Tokens per second of the harness beside a plain PyTorch loop and TRL's trainers: `make bench`.

All sides train the same model on the same rows, in the same batches and order. They take turns of a
few steps each, as the speed of a machine changes. Writes results/benchmarks/.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import rows
import side
from rich.progress import track
from setting import METHODS, ROUNDS, SETTINGS, TURNS, machine, spread

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "results" / "benchmarks"
SIDES = ("harness", "grouped", "bare", "trl")
SPAWN = multiprocessing.get_context("spawn")
Found = dict[str, float]


def main() -> None:
    """Measure, and write speed.json and speed.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    asked = [(model, method) for model in given.models for method in given.methods]
    file = RESULTS / "speed.json"
    measured: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    measured = [one for one in measured if (one["model"], one["method"]) not in asked]
    for model, method in track(asked, "Measuring"):
        measured.append(_compared(model, method))
        RESULTS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(measured, indent=1) + "\n")
        (RESULTS / "speed.md").write_text(_table(measured))


def _compared(model: str, method: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        rows.write(model, Path(place))
        side.write_order(side.job("harness", method, model, Path(place)), Path(place))
        sides = {side: _Side(side, method, model, Path(place)) for side in SIDES}
        try:
            rounds = [_round(sides) for _ in range(ROUNDS)]
            peaks = {side: one.peak() for side, one in sides.items()}
        finally:
            for one in sides.values():
                one.end()
    found = [{s: r[s] and {**r[s], "peak": peaks[s]} for s in SIDES} for r in rounds]
    return {
        "model": model,
        "method": method,
        "rounds": found,
        "machine": machine(),
    }


def _round(sides: dict[str, _Side]) -> dict[str, Any]:
    """Every side has its turns; the order changes, so that no side always follows the same one."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    order = list(sides)
    for turn in range(TURNS):
        for name in order[turn:] + order[:turn]:
            if (done := sides[name].turn()) is not None:
                seen[name].append(done)
    sums = {name: [sum(part) for part in zip(*turns, strict=True)] for name, turns in seen.items()}
    return {
        name: {"tokens": both[0], "tokens_per_second": both[0] / both[1]} if both else None
        for name, both in sums.items()
    }


class _Side:
    """One side's process, which waits except for its turns."""

    def __init__(self, name: str, method: str, model: str, folder: Path) -> None:
        self._name, self._log = f"{name} {method} {model}", folder / f"{name}.log"
        self._ours, theirs = SPAWN.Pipe()
        given = (name, method, model, folder, side.job(name, method, model, folder), theirs)
        self._process = SPAWN.Process(target=side.train, args=given)
        self._process.start()
        theirs.close()
        self._waits = self._heard() is not None  # the steps before the first turn

    def turn(self) -> tuple[float, float] | None:
        """Tokens and seconds; None where it has failed."""
        if not self._waits:
            return None
        self._ours.send("go")
        done = self._heard()
        self._waits = done is not None
        return done

    def peak(self) -> float | None:
        """The most memory that it held, in bytes."""
        if not self._waits:
            return None
        self._ours.send("go")
        return self._heard()

    def end(self) -> None:
        self._process.terminate()
        self._process.join()

    def _heard(self) -> Any:
        try:
            return self._ours.recv()
        except EOFError:
            print(f"{self._name} failed:\n{self._log.read_text()[-2000:]}", file=sys.stderr)
            return None


def _table(measured: list[dict[str, Any]]) -> str:
    """As Markdown; every number comes from the measurements."""
    lines = [
        "# Speed of training",
        "",
        "Made by `make bench`. Tokens per second of steps after a warm-up, one thread. All sides"
        " take turns of a few steps. Each ratio is the median over rounds, with the smallest and"
        " the largest. Memory is the peak of training above what the libraries take."
        " *Grouped* is the harness with `batch: {group_by_length: true}`.",
        "",
        "| model | method | harness, tokens/s | harness / plain loop | grouped / plain loop |"
        " harness / TRL | grouped / TRL | memory, harness / plain loop |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in sorted(measured, key=lambda o: (o["model"] != "tiny", METHODS.index(o["method"]))):
        speeds = [r["harness"]["tokens_per_second"] for r in one["rounds"] if r["harness"]]
        cells = [
            one["model"],
            one["method"],
            f"{statistics.median(speeds):,.0f}" if speeds else "–",
            *(
                _ratio(one["rounds"], side, beside, "tokens_per_second")
                for beside in ("bare", "trl")
                for side in ("harness", "grouped")
            ),
            _ratio(one["rounds"], "harness", "bare", "peak"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    machines = ", ".join(sorted({one["machine"] for one in measured}))
    return "\n".join([*lines, "", f"Machine: {machines}.", ""])


def _ratio(rounds: list[dict[str, Found | None]], side: str, beside: str, what: str) -> str:
    ratios = [a[what] / b[what] for r in rounds if (a := r[side]) and (b := r[beside])]
    if not ratios:
        return "–"
    return spread(ratios)


if __name__ == "__main__":
    main()
