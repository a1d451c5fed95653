"""Candidates that a model itself proposes, and who wins among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transformers import GenerationConfig

if TYPE_CHECKING:
    from bench import Session


def sample(
    model: Any, session: Session, prompts: Sequence[str], settings: Mapping[str, Any]
) -> list[str]:
    """One sampled completion of each prompt; `settings` are those of `GenerationConfig`, and what
    they do not say is plain sampling.
    """
    tokenizer = session.tokenizer
    config = GenerationConfig(
        do_sample=True,
        top_p=1.0,
        repetition_penalty=1.0,
        use_cache=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **settings,
    )
    room = max(1, session.max_length - settings["max_new_tokens"])
    encoded = tokenizer.pad(
        {"input_ids": session.prompt_ids(prompts)}, padding_side="left", return_tensors="pt"
    )
    ids, mask = (
        encoded[name][:, -room:].to(session.device) for name in ("input_ids", "attention_mask")
    )
    whole = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    begun = tokenizer.batch_decode(ids, skip_special_tokens=True)
    ended = tokenizer.batch_decode(whole, skip_special_tokens=True)
    return [text[len(start) :] for text, start in zip(ended, begun, strict=True)]


def tournament(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """Winner and loser of each match of a knock-out among candidates by their scores, in the order
    given; the final is the last.

    Of m candidates there are m - 1 matches. Where the number of players is odd, the last one waits
    for the next round.
    """
    players, matches = list(scores), []
    while len(players) > 1:
        pairs = zip(players[::2], players[1::2], strict=False)
        played = [(a, b) if scores[a] >= scores[b] else (b, a) for a, b in pairs]
        matches += played
        players = [winner for winner, _ in played] + players[2 * len(played) :]
    return matches
