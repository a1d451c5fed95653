"""One suite, whatever places its runs: the same scores, nothing lost, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Bench, run_in
from .placing import (
    ON_SLURM,
    ONE_SLOT,
    SUITE,
    before,
    installed,
    items,
    only,
    processes,
    started,
    statuses,
    until,
)

MINE = """\
from bench.execution.executors.local import Local

class Mine:
    def __init__(self, place):
        print(f"mine at {place.address} with {dict(place.options)}")
        self._inner = Local(place.jobs)

    def __getattr__(self, name):
        return getattr(self._inner, name)
"""

POISONED = (
    ONE_SLOT
    + """\
from bench.execution.executors.protocol import Lost

class Poisoned(OneSlot):
    def done(self, job):
        return Lost(job.run.id, "its node went up in smoke", "n7")
"""
)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "suite.yaml").write_text(SUITE)
    return tmp_path


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The items of the suite, as they are without `--on`."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "suite.yaml").write_text(SUITE)
    done = run_in(folder, "run", "suite.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return items(folder / "results")


@pytest.fixture
def client_port() -> int:
    """A free port, for who is not of the cluster."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture
def ray_cluster(suite: Path, client_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes with one CPU each, as processes of this machine."""
    pytest.importorskip("ray", reason="needs Ray")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(suite / "cache"))
    from ray.cluster_utils import Cluster

    Path("/tmp/ray").mkdir(exist_ok=True)  # Ray writes the address of a cluster there
    folder = tempfile.mkdtemp(prefix="bray-", dir="/tmp")  # the path of a socket must be short
    node = {"num_cpus": 1, "object_store_memory": 80 << 20, "temp_dir": folder}
    watchful = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
    head = {"include_dashboard": False, "include_log_monitor": False, "_system_config": watchful}
    head["ray_client_server_port"] = client_port
    cluster = Cluster(initialize_head=True, head_node_args={**node, **head})
    try:
        cluster.add_node(**node)
        monkeypatch.setenv("RAY_ADDRESS", str(cluster.address))
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def test_an_unknown_executor_is_told_with_the_nearest(bench: Bench, suite: Path) -> None:
    result = bench("run", "suite.yaml", "--on", "slrum://gpu")
    assert result.returncode == 2
    assert "there is no executor slrum; did you mean slurm?" in result.stderr
    assert "local, ray, slurm" in result.stderr


@pytest.mark.parametrize(
    ("on", "told"),
    [
        ("slurm://?cluster=local&gpu=1", "no option gpu; did you mean gpus?"),
        ("slurm://?cluster=local&time=soon", "time=soon is no number"),
        ("slurm://?cluster=cloud", "neither slurm nor local"),
        ("local://here", "takes no address (here)"),
    ],
)
def test_a_wrong_option_is_told_before_anything_runs(
    bench: Bench, suite: Path, on: str, told: str
) -> None:
    result = bench("run", "suite.yaml", "--on", on)
    assert result.returncode == 2 and told in result.stderr
    assert not (suite / "results").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("package", "extra"), [("ray", "ray"), ("submitit", "slurm")])
def test_a_missing_package_is_one_line(
    bench_process: Bench, suite: Path, package: str, extra: str
) -> None:
    (suite / "site").mkdir()
    (suite / f"site/{package}.py").write_text("raise ImportError")
    result = bench_process("run", "suite.yaml", "--on", extra, PYTHONPATH=before(suite / "site"))
    assert result.returncode == 2
    assert f'pip install "finetuning-bench[{extra}]"' in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_package_brings_an_executor(bench_process: Bench, suite: Path) -> None:
    path = installed(suite / "site", "mine", MINE)
    only(suite, "sft")
    result = bench_process("run", "suite.yaml", "--on", "mine://here?fast=yes", PYTHONPATH=path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "mine at here with {'fast': 'yes'}" in result.stdout
    assert statuses(suite / "results") == {"base": "ok", "sft": "ok"}


@pytest.mark.slow
def test_a_run_that_takes_its_nodes_down_is_placed_only_so_often(
    bench_process: Bench, suite: Path
) -> None:
    path = installed(suite / "site", "poisoned", POISONED)
    only(suite, "sft")
    result = bench_process("run", "suite.yaml", "--on", "poisoned", PYTHONPATH=path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stdout.count("on n7: lost: its node went up in smoke; it is placed again") == 6
    assert statuses(suite / "results") == {"base": "crashed", "sft": "crashed"}
    assert "its node went up in smoke, 4 times" in result.stdout
    assert "closed" in result.stdout


@pytest.mark.slow
def test_a_ray_node_that_is_killed_changes_no_item(
    suite: Path, here: dict[str, bytes], ray_cluster: Any
) -> None:
    (suite / "suite.yaml").write_text(SUITE + "artifacts: keep\n")
    (doomed,) = ray_cluster.worker_nodes
    with started(suite, "ray") as process:
        until(lambda: list(suite.glob(f"cache/bench/nodes/{doomed.node_id}/small/*/log.txt")))
        ray_cluster.remove_node(doomed, allow_graceful=False)
        _goes_on(process, suite)
    assert items(suite / "results") == here and len(here) == 3
    kept = [f.parent.parent.name[:3] for f in suite.glob("cache/bench/small/*/artifact/*.json")]
    assert {"sft", "lor"} <= set(kept)  # they came back through the object store
    assert {left.name for left in suite.glob("cache/bench/nodes/*")} <= {doomed.node_id}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_ray_cluster_elsewhere_changes_no_item(
    suite: Path, here: dict[str, bytes], client_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    done = run_in(suite, "run", "suite.yaml", "--on", f"ray://127.0.0.1:{client_port}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert items(suite / "results") == here and len(here) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "to"),
    [
        pytest.param(signal.SIGKILL, ["submitit.core._submit"], id="killed"),
        # as SLURM tells every process of a job before it takes the node away
        pytest.param(signal.SIGTERM, ["forkserver", "submitit.core._submit"], id="preempted"),
    ],
)
def test_a_slurm_job_that_loses_its_node_changes_no_item(
    suite: Path, here: dict[str, bytes], sent: signal.Signals, to: list[str]
) -> None:
    pytest.importorskip("submitit", reason="needs submitit")
    with started(suite, ON_SLURM, "--jobs", "2") as process:
        until(lambda: list(suite.glob("cache/bench/small/*/log.txt")))
        for job in [job for word in to for job in processes(suite, word)]:
            os.kill(job, sent)
        _goes_on(process, suite)
    assert items(suite / "results") == here and len(here) == 3
    assert not list((suite / "cache/bench/slurm").iterdir())


@pytest.mark.slow
def test_ctrl_c_cancels_what_slurm_was_given(suite: Path) -> None:
    pytest.importorskip("submitit", reason="needs submitit")
    _interrupt(suite, ON_SLURM, "cache/bench/small/*/log.txt")
    assert not list((suite / "cache/bench/slurm").iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("on", ["ray", "ray://127.0.0.1:{port}"])
def test_ctrl_c_cancels_what_ray_was_given(suite: Path, client_port: int, on: str) -> None:
    _interrupt(suite, on.format(port=client_port), "cache/bench/nodes/*/small/*/log.txt")


def _goes_on(process: subprocess.Popen[str], suite: Path) -> None:
    """A lost run is told and placed again, and no row is missing in the end."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    assert "it is placed again" in out
    assert statuses(suite / "results") == {"base": "ok", "sft": "ok", "lora": "ok"}


def _interrupt(suite: Path, on: str, under_way: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
    with started(suite, on) as process:
        until(lambda: list(suite.glob(under_way)))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 130, out + err
    assert "Interrupted" in err and "Traceback" not in err
    until(lambda: not processes(suite, "forkserver"))
    assert not processes(suite, "submitit")
