"""Metrics that `evaluate` loads from their folders and that the harness imports as functions."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics.continual_learning.sequence import (
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    trace_backward_transfer,
)
from bench.metrics.forgetting.flips import flips

METRICS = Path(__file__).parents[2] / "bench" / "metrics"
# Worked by hand: three tasks, and what a model scores on them by guessing; row 0 is before any
# training.
BEFORE = [0.1, 0.2, 0.3]
SCORES = [BEFORE, [0.9, 0.3, 0.2], [0.7, 0.8, 0.25], [0.6, 0.75, 0.85]]
GUESSING = [0.25, 0.25, 0.2]

Load = Callable[[str], Any]
PAIRS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    import evaluate
    from evaluate import config, loading

    monkeypatch.setattr(config, "HF_EVALUATE_OFFLINE", True)
    monkeypatch.setattr(loading, "init_dynamic_modules", lambda: _importable(tmp_path, monkeypatch))
    return lambda name: evaluate.load(str(METRICS / name), cache_dir=str(tmp_path / "cache"))


def _importable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh package for what `evaluate` copies, so that no earlier copy can stand in for it."""
    name = f"copied_{folder.name}"
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder)
    return str(folder / name)


def test_sequence_golden() -> None:
    assert average_accuracy(SCORES) == pytest.approx((0.6 + 0.75 + 0.85) / 3)
    assert backward_transfer(SCORES) == pytest.approx(-0.175)
    assert forward_transfer(SCORES, GUESSING) == pytest.approx(0.05)
    assert forgetting(SCORES) == pytest.approx(0.175)
    assert trace_backward_transfer(SCORES) == pytest.approx(-0.35 / 3)


def test_without_a_baseline_transfer_is_beyond_zero_shot() -> None:
    assert (
        forward_transfer(SCORES)
        == forward_transfer(SCORES, BEFORE)
        == pytest.approx(((0.3 - 0.2) + (0.25 - 0.3)) / 2)
    )


def test_the_best_that_was_lost_may_come_from_a_later_stage() -> None:
    assert forgetting([[0, 0, 0], [0.5, 0, 0], [0.75, 1, 0], [0.25, 1, 1]]) == pytest.approx(
        (0.5 + 0) / 2
    )


def test_forgetting_ignores_what_was_known_before_training() -> None:
    assert forgetting([[1.0, 0], [0.5, 0], [0.5, 1]]) == 0


def test_one_task_has_no_transfer() -> None:
    one = [[0.25], [0.75]]
    assert average_accuracy(one) == 0.75
    assert trace_backward_transfer(one) == 0
    assert all(map(math.isnan, (backward_transfer(one), forward_transfer(one), forgetting(one))))


@pytest.mark.parametrize(
    "scores", [[], [[]], [[0.5]], [[0.5], [0.5], [0.5]], [[0.1, 0.2], [0.3], [0.4, 0.5]]]
)
def test_a_matrix_of_another_shape_is_refused(scores: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="rows"):
        average_accuracy(scores)


def test_a_baseline_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="baseline"):
        forward_transfer(SCORES, [0.5])


@given(
    st.integers(2, 5).flatmap(
        lambda t: st.lists(
            st.lists(st.floats(0, 1), min_size=t, max_size=t), min_size=t + 1, max_size=t + 1
        )
    )
)
def test_transfer_and_forgetting_agree(scores: list[list[float]]) -> None:
    tasks = len(scores[0])
    assert (
        forgetting(scores) >= -backward_transfer(scores) - 1e-12
    )  # the best is no worse than the score just after training
    assert trace_backward_transfer(scores) * tasks == pytest.approx(
        backward_transfer(scores) * (tasks - 1), abs=1e-12
    )
    if tasks == 2:
        assert forgetting(scores) == pytest.approx(-backward_transfer(scores))


def test_flips_by_hand() -> None:
    found = flips([1, 1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 1, 0, 0])
    assert (found.kept, found.lost, found.gained, found.missed) == (1, 3, 1, 2)
    assert found.forgetting_rate == 3 / 4
    assert found.gain_rate == 1 / 3
    assert found.net_change == pytest.approx(-2 / 7)
    assert found.p == pytest.approx(2 * (1 + 4) / 16)


def test_rates_of_nothing_are_undefined() -> None:
    assert math.isnan(flips([0, 0], [0, 1]).forgetting_rate)
    assert math.isnan(flips([1, 1], [0, 1]).gain_rate)


def test_outcomes_that_do_not_align_are_refused() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        flips([1], [1, 0])
    with pytest.raises(ValueError, match=r"not 0\.5"):
        flips([1], [0.5])
    with pytest.raises(ValueError, match="no items"):
        flips([], [])


@given(PAIRS)
def test_flips_add_up(pairs: list[tuple[int, int]]) -> None:
    before, after = zip(*pairs, strict=True)
    found, back = flips(before, after), flips(after, before)
    assert found.kept + found.lost + found.gained + found.missed == len(pairs)
    assert found.net_change == pytest.approx(sum(after) / len(pairs) - sum(before) / len(pairs))
    assert (found.lost, found.p, found.net_change) == (back.gained, back.p, -back.net_change)


@settings(deadline=None)  # the first draw imports scipy
@given(PAIRS)
def test_p_is_that_of_the_exact_binomial_test(pairs: list[tuple[int, int]]) -> None:
    from scipy.stats import binomtest

    found = flips(*zip(*pairs, strict=True))
    if found.lost + found.gained:
        assert found.p == pytest.approx(binomtest(found.lost, found.lost + found.gained).pvalue)
    else:
        assert found.p == 1


def test_evaluate_loads_continual_learning(load: Load) -> None:
    metric = load("continual_learning")
    found = metric.compute(scores=SCORES, baseline=GUESSING)
    assert found["average_accuracy"] == pytest.approx(2.2 / 3)
    assert found["backward_transfer"] == pytest.approx(-0.175)
    assert found["forward_transfer"] == pytest.approx(0.05)
    assert found["forgetting"] == pytest.approx(0.175)
    assert found["trace_backward_transfer"] == pytest.approx(-0.35 / 3)
    assert "Gradient Episodic Memory" in metric.citation


def test_evaluate_loads_forgetting(load: Load) -> None:
    metric = load("forgetting")
    found = metric.compute(before=[1, 1, 1, 1, 0, 0, 0], after=[1, 0, 0, 0, 1, 0, 0])
    assert (found["items_lost"], found["items_gained"], found["forgetting_rate"]) == (3, 1, 0.75)
    assert found["p"] == pytest.approx(0.625)
    assert "Toneva" in metric.citation


def test_functions_do_not_wait_for_evaluate() -> None:
    code = (
        "import sys; import bench.metrics.forgetting.flips,"
        " bench.metrics.continual_learning.sequence; print([name for name in ('evaluate',"
        " 'datasets', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"
