"""What ends a sample, and what becomes of one that did not end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bench_preference.candidates import sample, scored_samples
from bench_preference.ends import CutOff
from bench_preference.likelihood import likelihoods
from bench_preference.ranker import scores

from bench import Conversation, token_log_probs
from bench.testing import tiny_session

PROMPTS = ["largest of 12 95 31 ?", "largest of 12 75 31 ?"]
"""The base answers with 95 and 75."""


def test_what_the_model_declares_ends_a_sample_too(tmp_path: Path) -> None:
    """As models for chats do, which end a turn with a token of its own."""
    session = tiny_session(tmp_path)
    model = session.model().eval()
    nine = session.tokenizer.convert_tokens_to_ids("\u25819")
    model.generation_config.eos_token_id = [nine]
    settings = {"temperature": 0.01, "max_new_tokens": 4}
    assert sample(model, session, PROMPTS, settings) == [" 9", " 75"]


@pytest.mark.parametrize("chat", [False, True])
def test_what_was_cut_off_counts_and_earns_as_it_was_sampled(chat: bool, tmp_path: Path) -> None:
    """A sample of one token, beside one that ended: neither its likelihood nor its score knows of
    an end that the model did not say.
    """
    session = tiny_session(tmp_path)
    prompt: Any = PROMPTS[0]
    if chat:
        prompt = Conversation(({"role": "user", "content": prompt},))
    model, ranker = session.model().eval(), session.scorer("reward").eval()
    (cut,) = sample(model, session, [prompt], {"temperature": 0.01, "max_new_tokens": 1})
    assert isinstance(cut, CutOff)
    asked = session.prompt_ids([prompt])[0]
    alone = torch.tensor([asked + cut.ids])
    labels = torch.tensor([[-100] * len(asked) + cut.ids])

    both = [cut, " 95"]
    with torch.no_grad():
        said = likelihoods(model, session, [prompt] * 2, both)
        whole = likelihoods(model, session, [prompt], [" 95"])
        expected = token_log_probs(model, {"input_ids": alone, "labels": labels}).sum()
        earned = scores(ranker, session, {"prompt": [prompt] * 2}, both)
        assert earned[0] == pytest.approx(float(ranker(input_ids=alone).logits), abs=1e-5)
    assert said.length.tolist() == [1, int(whole.length)]
    assert float(said.logp[0]) == pytest.approx(float(expected), abs=1e-5)
    assert float(said.logp[1]) == pytest.approx(float(whole.logp), abs=1e-5)
    assert earned[1] == pytest.approx(
        scores(ranker, session, {"prompt": [prompt]}, [" 95"])[0], abs=1e-5
    )


def test_a_sample_that_ended_is_plain_text_and_one_that_did_not_keeps_its_tokens(
    tmp_path: Path,
) -> None:
    """Also as a candidate, which is what methods learn from."""
    session = tiny_session(tmp_path)
    model = session.model().eval()
    rows = {"prompt": PROMPTS[:1]}
    for most, text, cut in ((1, " 9", True), (2, " 95", True), (3, " 95", False)):
        settings = {"temperature": 0.01, "max_new_tokens": most}
        drawn = scored_samples(model, lambda _, said: [0.0] * len(said), session, rows, 2, settings)
        (candidate,) = drawn[0].scores
        assert candidate == text
        assert isinstance(candidate, CutOff) == cut
        if isinstance(candidate, CutOff):
            assert len(candidate.ids) == most
