"""Results at s3://…, kept by a real server that speaks S3."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.records.store import Store
from bench.system.location import location

from .conftest import ROOT, Bench

SUITE = """
suite: away
model: tiny
target: tiny/smallest
budget: {steps: 2}
batch: {size: 4, max_length: 64}
seeds: 1
methods: [sft]
"""


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
