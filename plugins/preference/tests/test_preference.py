"""The preference methods as the harness runs them: what they read, what they start from, what they
spend, and what becomes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_preference import (
    CPO,
    DPO,
    IPO,
    KTO,
    LDDPO,
    ORPO,
    RRHF,
    TPO,
    DPONorm,
    RobustDPO,
    SimPO,
    SLiCHFDirect,
    StepwiseDPO,
)
from bench_preference.dropout import disable_dropout
from bench_preference.likelihood import likelihoods, outcome, share_above

from bench.accounting.budget import Budget
from bench.data.formats import Format
from bench.data.tasks import Task
from bench.methods.method import Method
from bench.methods.objective import measured
from bench.methods.session import Session
from bench.testing import tiny_session

from .by_trl import dpo_trainer

METHODS: list[Method] = [
    DPO(lr=3e-4),
    RobustDPO(lr=3e-4),
    DPONorm(lr=3e-4),
    LDDPO(lr=3e-4),
    StepwiseDPO(lr=3e-4),
    IPO(lr=3e-4),
    KTO(lr=3e-4),
    ORPO(lr=3e-4),
    SimPO(lr=3e-4),
    CPO(lr=3e-4),
    SLiCHFDirect(lr=3e-4),
    RRHF(lr=3e-4),
    TPO(lr=3e-4),
]
FOUR_STEPS = Budget("steps", 4)
AGAINST_THE_START = (DPO, IPO, KTO)


def _shortened(task: Task) -> Task:
    """The same task with less training data: TRL prepares all of it before its first step."""

    def first(format: Format) -> Callable[[Any], Any]:
        def load(split: Any) -> Any:
            rows = task.load(format, split)
            return rows.select(range(min(512, len(rows))))

        return load

    return replace(task, loaders={format: first(format) for format in task.formats})


def _small(folder: Path, budget: Budget = FOUR_STEPS, **changes: Any) -> Session:
    session = tiny_session(folder, budget, **changes)
    session.task = _shortened(session.task)
    return session


def _values(method: Method, session: Session, model: Any) -> dict[str, float]:
    """Of a model, or of the start."""
    before, after = measured(method, session, session.start, model or session.reference())
    return (after if model else before)["values"]


# ── what is trained on ──


@pytest.mark.parametrize("max_length", [64, 9])
def test_dpo_reads_the_same_tokens_as_everybody_and_answers_are_never_cut(
    tmp_path: Path, max_length: int
) -> None:
    session = _small(tmp_path, max_length=max_length)
    trainer = dpo_trainer(session, session.model())
    theirs = next(iter(trainer.get_train_dataloader()))
    rows = next(session.rows(Format.PREFERENCE))
    ours = session.encode(rows["prompt"] * 2, rows["chosen"] + rows["rejected"])
    assert torch.equal(theirs["input_ids"], ours["input_ids"])
    assert torch.equal(theirs["attention_mask"], ours["attention_mask"])
    assert torch.equal(theirs["completion_mask"].bool(), ours["labels"] >= 0)
    ends = torch.eq(ours["labels"], int(session.tokenizer.convert_tokens_to_ids("<eos>")))  # pyright: ignore[reportArgumentType]
    assert ends.sum(1).tolist() == [1] * 16


def test_log_probabilities_are_those_of_the_completion_alone(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model = session.model().eval()
    rows = session.dataset(Format.PROMPT_COMPLETION)[:6]
    with torch.no_grad():
        said = likelihoods(model, session, rows["prompt"], rows["completion"])
        loss = model(**session.encode(rows["prompt"], rows["completion"])).loss
        alone = [
            likelihoods(model, session, [p], [c]).logp
            for p, c in zip(rows["prompt"], rows["completion"], strict=True)
        ]
        turned = likelihoods(model, session, rows["prompt"][::-1], rows["completion"][::-1])
    assert float(-said.logp.sum() / said.length.sum()) == pytest.approx(float(loss), rel=1e-5)
    assert torch.allclose(said.logp, torch.cat(alone), atol=1e-4), "padding changes nothing"
    assert torch.allclose(said.logp, turned.logp.flip(0), atol=1e-4)


# ── the reference ──


def test_dpo_starts_at_ln_2_and_its_steps_are_those_of_trl(tmp_path: Path) -> None:
    session = _small(tmp_path / "own")
    DPO(lr=3e-4, beta=0.1).train(session)
    by_trl = _small(tmp_path / "trl")
    model = disable_dropout(by_trl.model())
    dpo_trainer(by_trl, model, learning_rate=3e-4, beta=0.1).train()
    by_trl.close()
    assert session.log.losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert session.log.losses == pytest.approx(by_trl.log.losses, abs=1e-4)
    assert session.log.losses[-1] < 0.69
    spent = session.ledger.by_purpose()
    assert spent["reference"]["tokens"] == spent["train"]["tokens"] > 0
    assert by_trl.ledger.by_purpose()["train"]["tokens"] == spent["train"]["tokens"]


def test_dpo_trains_in_float32_where_the_suite_computes_in_bfloat16(tmp_path: Path) -> None:
    session = _small(tmp_path, dtype=torch.bfloat16)
    before = session.model().state_dict()
    model = DPO(lr=1e-5).train(session)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    name = "model.embed_tokens.weight"
    moved = (model.state_dict()[name] != before[name].float()).float().mean()
    assert moved > 0.5, "steps smaller than bfloat16 can hold are not lost"


def test_each_stage_of_stepwise_dpo_starts_from_its_own_reference(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 8))
    StepwiseDPO(lr=3e-4, stages=2).train(session)
    losses = session.log.losses
    assert len(losses) == 8
    assert [
        number for number, loss in enumerate(losses) if loss == pytest.approx(math.log(2), abs=1e-6)
    ] == [0, 4]


def test_stepwise_dpo_of_two_stages_learns_something_else_than_dpo(
    tmp_path: Path,
) -> None:
    once = tiny_session(tmp_path / "once")
    DPO(lr=3e-4).train(once)
    once.close()
    twice = tiny_session(tmp_path / "twice")
    StepwiseDPO(lr=3e-4, stages=2).train(twice)
    assert once.log.losses[:2] == pytest.approx(twice.log.losses[:2], abs=1e-6)
    assert once.log.losses[2] != pytest.approx(twice.log.losses[2], abs=1e-4)


def test_kto_pairs_each_prompt_with_another_completion_and_needs_two_rows(tmp_path: Path) -> None:
    session = tiny_session(tmp_path / "eight")
    rows = session.dataset(Format.UNPAIRED_PREFERENCE)[:8]
    model = session.model()
    with torch.no_grad():
        reference = session.reference()
        baseline = KTO().baseline(model, reference, session, rows)
        at_start = KTO().losses(model, reference, session, baseline, rows)
    assert at_start.tolist() == pytest.approx([0.5] * 8, abs=1e-5), (
        "nothing gained, nothing lost, and a baseline of zero"
    )
    assert KTO().skip(session) is None
    reason = KTO().skip(tiny_session(tmp_path / "one", batch_size=1))
    assert reason is not None
    assert "two rows" in reason


# ── training under a budget ──


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_a_method_improves_what_it_optimises_within_its_budget(
    method: Method, tmp_path: Path
) -> None:
    session = _small(tmp_path, Budget("tokens", 4000))
    before = _values(method, session, None)
    if isinstance(method, AGAINST_THE_START):
        assert before == pytest.approx({"reward_margin": 0, "reward_accuracy": 0.5}, abs=1e-6)
    model = method.train(session)
    after = _values(method, session, model)
    assert after["reward_margin"] > before["reward_margin"]
    assert after["reward_accuracy"] > before["reward_accuracy"]
    most_of_a_batch = 8 * 6 * 14
    assert 4000 <= session.ledger.spent("tokens") < 4000 + most_of_a_batch


def test_objectives_count_ties_as_halves_and_rewards_in_the_right_direction() -> None:
    reward = torch.tensor([1.0, 0.0, -1.0, 2.0])
    assert float(share_above(reward)) == 0.625
    values = outcome(
        [
            (torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2.0])),
            (torch.tensor([0.0]), torch.tensor([4.0])),
        ]
    )
    assert values == pytest.approx({"reward_margin": -1.0, "reward_accuracy": 0.5})


def test_rrhf_takes_candidates_of_any_number_and_learns_the_best_one(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    rows = {
        "prompt": ["smallest of 84 92 78 ?", "smallest of 59 71 41 ?"],
        "completions": [[" 92", " 78"], [" 41", " 71", " 59"]],
        "scores": [[0.0, 1.0], [1.0, 0.25, 0.25]],
    }
    model = session.model()
    both = RRHF().losses(model, session, rows)
    first = likelihoods(model, session, rows["prompt"][:1] * 2, rows["completions"][0])
    by_hand = torch.relu(first.mean[0] - first.mean[1]) - first.logp[1]
    assert len(both) == 2
    assert float(both[0].detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)
