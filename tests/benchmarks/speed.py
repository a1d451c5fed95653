"""Tokens per second of the harness beside a plain PyTorch loop and TRL's trainers: `make bench`.

All sides train the same model on the same rows with the same batch, one after the other, several
times over; ratios are of one round, as a machine's speed changes. Writes results/benchmarks/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import rows
from rich.progress import track
from setting import METHODS, SETTINGS

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "results" / "benchmarks"
SIDES = ("harness", "grouped", "bare", "trl")
Found = dict[str, float]


def main() -> None:
    """Measure, and write speed.json and speed.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    asked = [(model, method) for model in given.models for method in given.methods]
    file = RESULTS / "speed.json"
    measured: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    measured = [one for one in measured if (one["model"], one["method"]) not in asked]
    for model, method in track(asked, "Measuring"):
        measured.append(_compared(model, method, given.rounds))
        RESULTS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(measured, indent=1) + "\n")
        (RESULTS / "speed.md").write_text(_table(measured))


def _compared(model: str, method: str, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        rows.write(model, Path(place))
        found = [{side: _side(side, method, model, place) for side in SIDES} for _ in range(rounds)]
    return {
        "model": model,
        "method": method,
        "rounds": found,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }


def _side(side: str, method: str, model: str, place: str) -> Found | None:
    """What a side prints; None where it fails."""
    command = [sys.executable, str(HERE / "side.py"), side, method, model, place]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        print(f"{side} {method} {model} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def _table(measured: list[dict[str, Any]]) -> str:
    """As Markdown; every number comes from the measurements."""
    lines = [
        "# Speed of training",
        "",
        "Made by `make bench`. Tokens per second of steps after a warm-up, one thread. Each ratio"
        " is the median over rounds of one process per side, with the smallest and the largest."
        " *Grouped* is the harness with `batch: {group_by_length: true}`.",
        "",
        "| model | method | harness, tokens/s | harness / plain loop | grouped / plain loop |"
        " harness / TRL | grouped / TRL | peak memory, harness / plain loop |",
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
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
