"""How long a command takes to begin, and a run to take its first step, into results/benchmarks."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from setting import machine, spread

from bench.execution.executors.local import Local
from bench.execution.executors.protocol import Finished, Running
from bench.execution.worker import Job
from bench.suite.file import parse
from bench.suite.plan import make_plan

RESULTS = Path(__file__).resolve().parents[2] / "results" / "benchmarks"
ROUNDS, RUNS = 9, 5
LIBRARIES = "import typer and rich"
IDLE = """
import typer
app = typer.Typer()
@app.command()
def idle(name: str = "", loud: bool = False): print(name)
app()
"""
BENCH = str(Path(sys.executable).with_name("bench"))
COMMANDS = {
    LIBRARIES: [sys.executable, "-c", "import typer, rich"],
    "a command of typer that does nothing": [sys.executable, "-c", IDLE],
    "bench --help": [BENCH, "--help"],
    "bench methods": [BENCH, "methods"],
}


def main() -> None:
    """Measure, and write startup.json and startup.md."""
    rounds = [
        {name: _seconds(command) for name, command in COMMANDS.items()} for _ in range(ROUNDS)
    ]
    with tempfile.TemporaryDirectory() as folder:
        steps = _first_steps(Path(folder))
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = {"commands": rounds, "first_step": steps}
    (RESULTS / "startup.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "startup.md").write_text(_table(rounds, steps))


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def _first_steps(folder: Path) -> list[float]:
    """Seconds from a run's start to its first step, of a few runs after a first one: that one
    starts the fork server.
    """
    suite = parse(
        {
            "suite": "startup",
            "model": "tiny",
            "target": "tiny/smallest",
            "budget": {"steps": 3},
            "batch": {"size": 8, "max_length": 64},
            "seeds": RUNS + 1,
            "methods": ["sft"],
        }
    )
    executor, found = Local(jobs=1), []
    try:
        for run in (run for run in make_plan(suite, executor.kind) if run.method):
            began, first = time.perf_counter(), 0.0
            executor.submit([Job(suite, run, "cpu", folder / run.id)])
            while True:
                news = list(executor.hear(1.0))
                moved = (n for n in news if isinstance(n, Running) and n.fraction > 0)
                if not first and any(n.stage == "train" for n in moved):
                    first = time.perf_counter() - began
                if any(isinstance(n, Finished) for n in news):
                    break
            found.append(first)
    finally:
        executor.close()
    return found[1:]


def _table(rounds: list[dict[str, float]], steps: list[float]) -> str:
    lines = [
        "# Starting",
        "",
        f"Each command is a process of its own. Each ratio is the median of {ROUNDS} rounds, with"
        " the smallest and the largest.",
        "",
        f"| command | seconds | beside `{LIBRARIES}` |",
        "| --- | ---: | ---: |",
    ]
    for name in COMMANDS:
        ratios = [round[name] / round[LIBRARIES] for round in rounds]
        median = statistics.median(round[name] for round in rounds)
        lines.append(f"| {name} | {median:.2f} | {spread(ratios)} |")
    lines += [
        "",
        f"A run of `sft` on the embedded model takes its first step {spread(steps)} seconds after"
        " its start on a warm fork server, its model loaded and its objective measured."
        f" {len(steps)} runs.",
        "",
        f"Machine: {machine()}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
