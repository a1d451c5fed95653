"""What ends a sample, and what becomes of one that did not end."""

from __future__ import annotations

from pathlib import Path

from bench_preference.candidates import sample

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
