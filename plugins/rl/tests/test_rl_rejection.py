"""Rejection sampling and RAFT: what they keep of what they sample, and what they train on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_rl import RejectionSampling
from bench_rl.rejection import augmented, best, collate, endless, labelled
from bench_rl.rewards import of_task
from bench_rl.rollout import log_probs
from datasets import Dataset
from transformers import set_seed

from bench import Format, Reward, Skipped
from bench.accounting.budget import Budget
from bench.testing import tiny_session

from .sampled import KNOWN, prompts_of, rollout_of

SHORT: dict[str, Any] = {"max_completion_length": 6}


def test_the_best_sample_of_each_prompt_earns_most() -> None:
    samples = [((prompt,), (number,)) for prompt in range(2) for number in range(3)]
    assert best(samples, torch.tensor([0.0, 2.0, 1.0, 1.0, 0.5, 1.0]), 3) == [
        ((0,), (1,)),
        ((1,), (0,)),
    ]
    assert best(samples, torch.randn(6), 1) == samples, "of one sample each, all are the best"


def test_all_samples_come_once_before_one_comes_again() -> None:
    samples = [((n,), (n,)) for n in range(5)]
    batches = endless(samples, 3)
    drawn = [one for _ in range(10) for one in next(batches)]
    for epoch in range(6):
        assert sorted(drawn[5 * epoch : 5 * epoch + 5]) == samples


def test_its_loss_is_that_of_supervised_fine_tuning_on_what_was_sampled(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    model = session.model().eval()
    rollout = rollout_of(session, model, length=12)
    with torch.no_grad():
        ours = model(**collate(list(map(labelled, rollout.tokens())), session)).loss
        assert float(ours) == pytest.approx(
            float(-log_probs(model, rollout, 1.0).sum() / rollout.mask.sum()), abs=1e-5
        )
        prompts = [p for p in [*prompts_of(session, 3)["prompt"], "copy a ?"] for _ in range(2)]
        at_end: Any = rollout.completion_ids == session.tokenizer.eos_token_id
        ended = at_end.any(1).nonzero().flatten().tolist()
        texts = rollout.texts(session.tokenizer)
        again = session.encode([prompts[n] for n in ended], [f" {texts[n].strip()}" for n in ended])
        same = collate([labelled(list(rollout.tokens())[n]) for n in ended], session)
        assert len(ended) > 4
        assert torch.equal(again["input_ids"], same["input_ids"])
        assert torch.equal(again["labels"], same["labels"])


def test_rejection_sampling_keeps_what_is_right_once_and_starts_anew(tmp_path: Path) -> None:
    method = RejectionSampling(lr=1e-3, num_samples=4, max_prompts=16, original_rows=False, **SHORT)
    session = tiny_session(tmp_path, Budget("steps", 3), task=KNOWN)
    set_seed(1)
    reward = partial(of_task, session)
    right = list(augmented(method, session, reward, {}))
    kept = list(dict.fromkeys(right))
    assert len(right) <= 16 * 4
    assert len(kept) <= 16 < len(right), (
        "a prompt with one right answer leaves one sample, however often it was given"
    )
    expected = session.model()(**collate(next(endless(kept, 8)), session)).loss.item()

    again = tiny_session(tmp_path / "again", Budget("steps", 3), task=KNOWN)
    set_seed(1)
    method.train(again)
    assert again.log.losses[0] == pytest.approx(expected, abs=1e-6), (
        "the first loss is the start's own"
    )
    assert again.ledger.steps == 3


@pytest.mark.parametrize("reward", [[{"exact": 0.75}, {"number": 0.5}], {"rewards.py:length": 1}])
def test_rejection_sampling_keeps_what_is_right_or_else_the_best(
    reward: object, tmp_path: Path
) -> None:
    (tmp_path / "rewards.py").write_text(
        "def length(completions, **columns):\n    return [float(len(c)) for c in completions]\n"
    )
    session = tiny_session(tmp_path / "work", Budget("steps", 3), task=KNOWN)
    session.task = replace(session.task, reward=Reward.of(reward, tmp_path))
    method = RejectionSampling(num_samples=4, max_prompts=8, temperature=1.5, **SHORT)
    seen: list[float] = []

    def earned(rollout: Any, rows: Any) -> torch.Tensor:
        seen.extend((found := of_task(session, rollout, rows)).tolist())
        return found

    kept = list(augmented(method, session, earned, {}))
    if session.task.reward.highest is None:
        assert len(kept) == 8, "one of each prompt"
    else:
        assert session.task.reward.highest == 1.25
        assert len(kept) == seen.count(1.25) > 0
        assert set(seen) >= {0.0, 1.25}
    session.close()


def _tokens(batch: dict[str, Any]) -> list[list[int]]:
    rows = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
    return [ids[mask].tolist() for ids, mask in rows]


def _trained_on(method: RejectionSampling, folder: Path) -> list[list[int]]:
    """The tokens of every row that it learns from in eight steps, without padding."""
    session = tiny_session(folder, Budget("steps", 8), task=KNOWN)
    seen: list[list[int]] = []
    learn = session.learn

    def look(optimizer: Any, batch: Any, loss_of: Any) -> None:
        seen.extend(_tokens(batch))
        learn(optimizer, batch, loss_of)

    session.learn = look  # pyright: ignore[reportAttributeAccessIssue]
    set_seed(1)
    method.train(session)
    session.close()
    return seen


def test_the_original_rows_of_what_was_asked_stay_beside_the_samples(tmp_path: Path) -> None:
    """As the authors' collect_rejection_sampling.py writes them, even where no sample is right."""
    method = RejectionSampling(num_samples=2, max_prompts=16, temperature=5.0, **SHORT)
    session = tiny_session(tmp_path / "look", task=KNOWN)
    rows = session.dataset(Format.PROMPT_COMPLETION)
    with session.stage("sample", until=0.5) as stage:
        first = [
            p
            for _, batch in zip(range(2), stage.rows(Format.PROMPT_ONLY), strict=False)
            for p in batch["prompt"]
        ]
    said = dict(zip(rows["prompt"], rows["completion"], strict=True))
    originals = _tokens(session.encode(first, [said[prompt] for prompt in first]))
    session.close()
    seen = _trained_on(method, tmp_path / "with")
    assert len(originals) == 16
    assert all(row in seen for row in originals)


def test_rows_that_cannot_be_asked_are_no_originals(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    other = Dataset.from_list([{"prompt": "copy a ?", "completion": " a"}] * 8)
    session.task = replace(
        session.task,
        loaders={**session.task.loaders, Format.PROMPT_COMPLETION: lambda split: other},
    )
    with pytest.raises(Skipped, match="original_rows: false"):
        RejectionSampling(**SHORT).train(session)
    assert not session.ledger.purposes, "told before anything is sampled"
    session.close()


def test_original_rows_need_completions() -> None:
    assert RejectionSampling().needs() == (Format.PROMPT_ONLY, Format.PROMPT_COMPLETION)
    assert RejectionSampling(original_rows=False).needs() == (Format.PROMPT_ONLY,)


def test_sampling_spends_its_share(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("tokens", 4000), task=KNOWN)
    RejectionSampling(lr=1e-4, num_samples=2, sampling_share=0.5, **SHORT).train(session)
    spent = {name: float(spend.tokens) for name, spend in session.ledger.purposes.items()}
    assert 2000 <= spent["rollout"] < 2600
    assert spent["rollout"] + spent["train"] >= 4000
    session.close()
