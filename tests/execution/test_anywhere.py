"""Results and artifacts at s3://…, kept by a real server that speaks S3."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.records.store import Store
from bench.system.location import location

from ..conftest import ROOT, Bench
from .placing import ONE_SLOT, installed

SUITE = """
suite: away
model: tiny
target: tiny/smallest
budget: {steps: 2}
batch: {size: 4, max_length: 64}
seeds: 1
methods: [sft]
"""
NODE = (
    ONE_SLOT
    + """\
import threading
from dataclasses import replace

from bench.execution.executors import remote
from bench.execution.executors.protocol import Finished


class Node(OneSlot):
    def done(self, job):
        there = remote.placed(replace(job, work=job.work / "there"), "cpu")
        parcel = remote.work(there, lambda *_: None, threading.Event(), shared_disk=False)
        assert not there.work.exists()
        print("sent", parcel.work is not None)
        return Finished(job.run.id, remote.unpacked(parcel, job), "n1")
"""
)
"""A machine that shares no disk with the driver."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket on a server of its own."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    _point_to(monkeypatch, f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"bucket-{uuid.uuid4().hex[:8]}"  # the server's buckets outlive it in this process
    s3fs.S3FileSystem().mkdir(name)
    s3fs.S3FileSystem.clear_instance_cache()
    yield f"s3://{name}/results"
    running.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def _point_to(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
def test_a_suite_is_run_resumed_and_reported_in_a_bucket(
    tmp_path: Path, bench_process: Bench, bucket: str
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    first = bench_process("run", "suite.yaml", "--results", bucket)
    assert first.returncode == 0, first.stderr
    store = Store(location(bucket) / "away")
    records = store.planned()
    assert [(r.recipe, r.status) for r in records] == [("base", "ok"), ("sft", "ok")]
    assert all(store.items(record.id) for record in records)
    assert b"<html" in (store.report / "report.html").read_bytes()
    again = bench_process("run", "suite.yaml", "--results", bucket)
    assert again.returncode == 0, again.stderr
    assert Store(location(bucket) / "away").planned() == records
    assert not (tmp_path / "s3:").exists()


@pytest.mark.slow
@pytest.mark.parametrize("on", ["local", "node"])
def test_artifacts_lie_where_the_suite_says(
    on: str, tmp_path: Path, bench_process: Bench, bucket: str
) -> None:
    kept = bucket.replace("/results", "/kept")
    suite = SUITE.replace("[sft]", "[lora]")
    (tmp_path / "suite.yaml").write_text(suite + f"artifacts: {kept}\n")
    path = installed(tmp_path / "site", "node", NODE)
    ran = bench_process("run", "suite.yaml", "--on", on, PYTHONPATH=path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "sent True" not in ran.stdout, "a node puts its artifact there itself"
    (run,) = (r.id for r in Store(tmp_path / "results/away").planned() if r.recipe == "lora")
    there = location(kept) / "away"
    assert "artifacts: s3://" in (there / "suite.yaml").read_text()
    before = (there / run).versions()
    assert {"adapter_config.json", "adapter_model.safetensors"} <= before.keys()
    assert not list(tmp_path.glob("cache/bench/away/*/artifact"))
    published = bench_process("publish", "results", "--to", "site-out", "--adapters")
    assert published.returncode == 0, published.stderr
    (weights,) = (tmp_path / "site-out").rglob("adapter_model.safetensors")
    assert weights.read_bytes() == (there / run / weights.name).read_bytes()
    again = bench_process("confirm", "suite.yaml", "lora")
    assert again.returncode == 0, again.stderr
    assert (there / run).versions() == before, "what is run once more is not put there"


@pytest.mark.slow
def test_an_artifact_that_cannot_be_put_away_stays(tmp_path: Path, bench_process: Bench) -> None:
    """A node cannot put it there, and neither can the driver, to whom the node sends it."""
    kept = tmp_path / "kept"
    (tmp_path / "suite.yaml").write_text(SUITE + f"artifacts: file://{kept}\n")
    (kept / "away").mkdir(parents=True)
    plan = json.loads(bench_process("plan", "suite.yaml", "--json").stdout)
    (run,) = (one["id"] for one in plan["runs"] if one["recipe"] == "sft")
    (kept / "away" / run).write_text("a file where a folder belongs")
    path = installed(tmp_path / "site", "node", NODE)
    ran = bench_process("run", "suite.yaml", "--on", "node", PYTHONPATH=path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "its artifact stays in" in " ".join(ran.stdout.split())
    assert list(tmp_path.glob(f"cache/bench/away/{run}/artifact/*.safetensors"))


@pytest.mark.parametrize(
    ("artifacts", "told"),
    [
        ("keap", "give drop, keep, or an address such as s3://bucket/folder, not keap"),
        ("s3://nowhere/kept", "s3://nowhere/kept/away/suite.yaml cannot be written"),
        ("file:///dev/null/kept", "/dev/null/kept/away cannot be written"),
    ],
)
def test_where_artifacts_cannot_lie_is_told_before_training(
    artifacts: str, told: str, tmp_path: Path, bench: Bench, bucket: str
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE + f"artifacts: {artifacts}\n")
    result = bench("run", "suite.yaml")
    assert result.returncode == 2
    assert told in " ".join(result.stderr.split())
    assert not (tmp_path / "results").exists() or not Store(tmp_path / "results/away").all()


def test_records_in_a_bucket_are_those_of_a_folder(
    tmp_path: Path, bench: Bench, bucket: str
) -> None:
    here = ROOT / "results/quickstart"
    merged = bench("merge", here, "--to", f"{bucket}/copy")
    assert merged.returncode == 0, merged.stderr
    away, local = Store(location(f"{bucket}/copy")), Store(here)
    assert away.planned() == local.planned()
    assert all(away.items(run) == local.items(run) for run in local.asked())
    told = bench("report", f"{bucket}/copy")
    assert told.returncode == 0, told.stderr
    back = bench("merge", f"{bucket}/copy", "--to", tmp_path / "back")
    assert back.returncode == 0, back.stderr
    assert Store(tmp_path / "back").all() == local.all()


def test_many_writers_leave_whole_records(bucket: str) -> None:
    source = Store(ROOT / "results/quickstart")
    record = source.planned()[0]

    def write() -> None:
        Store(location(f"{bucket}/many")).put(record, source.items_file(record.id))

    writers = [threading.Thread(target=write) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert Store(location(f"{bucket}/many")).all() == [record]


def test_a_bucket_that_does_not_exist_is_told_before_training(
    tmp_path: Path, bench: Bench, bucket: str
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    result = bench("run", "suite.yaml", "--results", "s3://nowhere/results")
    assert result.returncode == 2
    assert "s3://nowhere/results" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_server_that_does_not_answer_is_told_before_training(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        _point_to(monkeypatch, f"http://127.0.0.1:{taken.getsockname()[1]}")
        s3fs.S3FileSystem.clear_instance_cache()
        (tmp_path / "suite.yaml").write_text(SUITE)
        result = bench("run", "suite.yaml", "--results", "s3://bucket/results")
    s3fs.S3FileSystem.clear_instance_cache()
    assert result.returncode == 2
    assert "s3://bucket/results" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_protocol_that_nobody_knows_is_told(tmp_path: Path, bench: Bench) -> None:
    result = bench("report", "gopher://x/y")
    assert result.returncode == 2
    assert "gopher" in result.stderr


def test_memory_and_files_are_places_too(tmp_path: Path) -> None:
    source = Store(ROOT / "results/quickstart")
    for where in ("memory://kept/here", f"file://{tmp_path}/there"):
        store = Store(location(where))
        for record in source.planned():
            store.put(record, source.items_file(record.id))
        assert store.all() == source.all()
