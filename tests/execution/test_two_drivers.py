"""Two drivers work on one suite, as they can where results lie in a bucket or in two folders."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from bench.execution.executors.protocol import Lost, News
from bench.execution.place import place_all
from bench.execution.record import assemble
from bench.execution.run_suite import known_runs
from bench.execution.worker import Job
from bench.records.schema import Record, Status
from bench.records.store import Store
from bench.suite.file import load
from bench.suite.forecast import Forecast

from ..runs import write_suite
from .placing import SUITE, started, until


class Rivalled:
    """Loses every run for good, while somebody else finishes others."""

    slots, kind, processor = 1, "cpu", ""

    def __init__(self, store: Store, theirs: Sequence[Record]) -> None:
        self._store, self._theirs = store, theirs
        self.placed: list[str] = []
        self.at_last: Callable[[], None] | None = None
        """What happens when nothing is placed any more."""
        self._open: Sequence[Job] = ()

    def room(self) -> int:
        return 1 - len(self._open)

    def submit(self, jobs: Sequence[Job]) -> None:
        self._open = jobs
        self.placed += [job.run.recipe for job in jobs]

    def hear(self, seconds: float) -> Iterable[News]:
        for record in self._theirs:
            self._store.put(record, Path("no-items"))
        if not self._open and self.at_last:
            self.at_last()
        ended, self._open = self._open, ()
        return [Lost(job.run.id, "gone", final=True) for job in ended]

    def close(self) -> None:
        pass


class Ears:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

        self.waits: set[str] = set()

    def running(self, job: Job, stage: str, fraction: float, node: str) -> None:
        assert stage == "waits for another bench run"
        self.waits.add(job.run.recipe)

    def again(self, job: Job, reason: str, node: str) -> None: ...

    def stays(self, job: Job, reason: str) -> None: ...

    def finished(self, job: Job, result: Record, node: str) -> None:
        self.heard.append((job.run.recipe, result.status))


def test_what_another_driver_finished_stands_and_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    suite, store = load(tmp_path / "suite.yaml"), Store(tmp_path / "results")
    runs = known_runs(suite, "cpu", store)
    jobs = [Job(suite, run, "cpu", tmp_path / run.id) for run in runs]
    lost = [assemble(job, {"status": "crashed"}, None) for job in jobs]
    base, sft, lora = (record.model_copy(update={"status": Status.OK}) for record in lost)
    store.put(lora, tmp_path / "no-items")  # what was there before is to be done once more
    executor, ears = Rivalled(store, [base, sft]), Ears()
    place_all(jobs, executor, store, ears, Forecast(suite))
    assert executor.placed == ["base", "lora"]
    assert ears.heard == [("base", "ok"), ("sft", "ok"), ("lora", "crashed")]
    assert [store.get(run.id).status for run in runs] == ["ok", "ok", "crashed"]


HOLDER = """
import sys
from pathlib import Path
from bench.execution.claims import Claims

ours = Claims(Path(sys.argv[1]))
print(ours.take(sys.argv[2]), flush=True)
sys.stdin.read()
"""


def test_a_run_of_another_driver_waits_and_holds_up_no_other(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    suite, store = load(tmp_path / "suite.yaml"), Store(tmp_path / "results")
    jobs = [Job(suite, run, "cpu", tmp_path / run.id) for run in known_runs(suite, "cpu", store)]
    executor, ears = Rivalled(store, []), Ears()
    sft = jobs[1].run
    command = [sys.executable, "-c", HOLDER, str(tmp_path), sft.id]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin and other.stdout and other.stdout.readline() == "True\n"
        executor.at_last = other.stdin.close
        place_all(jobs, executor, store, ears, Forecast(suite))
    assert executor.placed == ["base", "lora", "sft"]
    assert ears.waits == {"sft"}


PATIENT = """
import time
from pathlib import Path
from bench_supervised import SFT

class Plugin(SFT):
    def train(self, session):
        while Path("FOLDER/SLOW").exists():
            time.sleep(0.1)
        return super().train(session)
"""


@pytest.mark.slow
def test_drivers_with_results_in_two_folders_hurt_each_other_in_nothing(
    tmp_path: Path, plugin: Callable[[str, str], str]
) -> None:
    site = plugin("patient", PATIENT.replace("FOLDER", str(tmp_path)))
    write_suite(tmp_path, "  - sft\n  - patient", "tokens: 1k")
    slow = tmp_path / "SLOW"
    slow.touch()
    with started(tmp_path, None, "--jobs", "1", PYTHONPATH=site) as first:
        until(lambda: list(tmp_path.glob("cache/bench/small/patient-*/log.txt")))
        with started(tmp_path, None, "--results", "other", PYTHONPATH=site) as second:
            until(lambda: list(tmp_path.glob("other/small/records/sft-*.json")))
            slow.unlink()
            out, err = second.communicate(timeout=300)
        assert second.returncode == 0, out + err
        out, err = first.communicate(timeout=300)
    assert first.returncode == 0, out + err
