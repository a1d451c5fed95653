"""Two drivers work on one suite, as they can where results lie in a bucket."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.execution.executors.protocol import Lost, News
from bench.execution.place import place_all
from bench.execution.record import assemble
from bench.execution.run_suite import known_runs
from bench.execution.worker import Job
from bench.records.schema import Record, Status
from bench.records.store import Store
from bench.suite.file import load
from bench.suite.forecast import Forecast

from .placing import SUITE


class Rivalled:
    """Loses every run for good, while somebody else finishes others."""

    slots, kind, processor = 1, "cpu", ""

    def __init__(self, store: Store, theirs: Sequence[Record]) -> None:
        self._store, self._theirs = store, theirs
        self.placed: list[str] = []
        self._open: Sequence[Job] = ()

    def room(self) -> int:
        return 1 - len(self._open)

    def submit(self, jobs: Sequence[Job]) -> None:
        self._open = jobs
        self.placed += [job.run.recipe for job in jobs]

    def hear(self, seconds: float) -> Iterable[News]:
        for record in self._theirs:
            self._store.put(record, Path("no-items"))
        ended, self._open = self._open, ()
        return [Lost(job.run.id, "gone", final=True) for job in ended]

    def close(self) -> None:
        pass


class Ears:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def running(self, job: Job, stage: str, fraction: float, node: str) -> None: ...

    def again(self, job: Job, reason: str, node: str) -> None: ...

    def stays(self, job: Job, reason: str) -> None: ...

    def finished(self, job: Job, result: Record, node: str) -> None:
        self.heard.append((job.run.recipe, result.status))


def test_what_another_driver_finished_stands_and_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    suite, store = load(tmp_path / "suite.yaml"), Store(tmp_path / "results")
    runs = known_runs(suite, "cpu", store)
    jobs = [Job(suite, run, "cpu", tmp_path / run.id) for run in runs]
    lost = [assemble(job, {"status": "crashed"}, None, None) for job in jobs]
    base, sft, lora = (record.model_copy(update={"status": Status.OK}) for record in lost)
    store.put(lora, tmp_path / "no-items")  # what was there before is to be done once more
    executor, ears = Rivalled(store, [base, sft]), Ears()
    place_all(jobs, executor, store, ears, Forecast(suite))
    assert executor.placed == ["base", "lora"]
    assert ears.heard == [("base", "ok"), ("sft", "ok"), ("lora", "crashed")]
    assert [store.get(run.id).status for run in runs] == ["ok", "ok", "crashed"]
