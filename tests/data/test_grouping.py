"""Rows of similar length share a batch: a pool keeps its rows, padding shrinks, recipes agree."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.data.formats import Format
from bench.data.grouping import POOL, grouped
from bench.data.order import order
from bench.methods.session import Session
from bench.testing import tiny_session

from ..conftest import Bench

PEOPLE = "tiny/people"  # 768 rows, of 9 to 12 tokens


def _session(folder: Path, **changes: Any) -> Session:
    return tiny_session(folder, task=PEOPLE, **changes)


def _prompts(session: Session, batches: int) -> list[list[Any]]:
    return [rows["prompt"] for rows in islice(session.rows(Format.PROMPT_COMPLETION), batches)]


def _padded_share(session: Session) -> float:
    masks = [
        batch["attention_mask"]
        for batch in islice(session.batches(Format.PROMPT_COMPLETION), 2 * POOL)
    ]
    return 1 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)


@given(st.integers(1, 90), st.integers(1, 9), st.integers(0, 2**31))
def test_each_batch_and_each_epoch_has_rows_of_its_own(count: int, size: int, seed: int) -> None:
    def lengths(rows: list[int]) -> list[int]:
        return [row % 7 for row in rows]

    def found(limit: int | None = None) -> Any:
        return grouped(islice(order(count, seed), limit), count, size, seed, lengths)

    whole = count // size * size
    assert sorted(found(count)) == list(range(count))
    plain, first = list(islice(order(count, seed), whole)), list(islice(found(), whole))
    assert list(islice(found(count), whole)) == first, "a trainer's dataset is the first epoch"
    for start in range(0, whole, POOL * size):
        pool = slice(start, start + POOL * size)
        assert sorted(plain[pool]) == sorted(first[pool])
    for start in range(0, whole, size):
        ranks = lengths(first[start : start + size])
        assert ranks == sorted(ranks)


@pytest.mark.parametrize("size", [8, 40])
def test_a_pool_has_the_rows_that_it_has_without(size: int, tmp_path: Path) -> None:
    plain = _session(tmp_path / "plain", batch_size=size)
    together = _session(tmp_path / "grouped", batch_size=size, group_by_length=True)
    count = min(POOL, 768 // size)
    one, other = (_prompts(session, count) for session in (plain, together))
    assert one != other
    assert Counter(chain(*one)) == Counter(chain(*other))


def test_padding_is_less(tmp_path: Path) -> None:
    plain = _session(tmp_path / "plain")
    together = _session(tmp_path / "grouped", group_by_length=True)
    assert _padded_share(together) < 0.4 * _padded_share(plain)


def test_every_recipe_and_every_trainer_sees_the_same_batches(tmp_path: Path) -> None:
    one = _session(tmp_path / "one", group_by_length=True)
    other = _session(tmp_path / "other", group_by_length=True, seed=77)
    seen = _prompts(one, 96)
    assert seen == _prompts(other, 96)
    assert list(chain(*seen)) == list(one.dataset(Format.PROMPT_COMPLETION)["prompt"])


@pytest.mark.parametrize("format", list(Format))
def test_rows_of_every_format_have_a_length(format: Format, tmp_path: Path) -> None:
    session = _session(tmp_path, group_by_length=True)
    assert len(next(session.rows(format)).popitem()[1]) == 8


SUITE = """\
suite: small
model: tiny
target: tiny/people
budget: {steps: 3}
batch: {size: 8, max_length: 64GROUPED}
seeds: 1
methods: [sft, simpo]
"""


def test_a_run_has_another_id_only_where_a_suite_asks_for_it(bench: Bench, tmp_path: Path) -> None:
    def ids(said: str) -> list[str]:
        (tmp_path / "suite.yaml").write_text(SUITE.replace("GROUPED", said))
        planned = json.loads(bench("plan", "suite.yaml", "--json").stdout)
        return [run["id"] for run in planned["runs"]]

    assert ids("") == ids(", group_by_length: false")
    assert not set(ids("")) & set(ids(", group_by_length: true"))


@pytest.mark.slow
def test_the_record_says_that_rows_were_grouped(bench_process: Bench, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE.replace("GROUPED", ", group_by_length: true"))
    done = bench_process("run", "suite.yaml", "--quiet")
    assert done.returncode == 0, done.stderr
    results = tmp_path / "results/small"
    found = [json.loads(file.read_text()) for file in (results / "records").glob("*.json")]
    assert [record["batch"]["group_by_length"] for record in found] == [True] * 3
    assert yaml.safe_load((results / "suite.yaml").read_text())["batch"]["group_by_length"]
