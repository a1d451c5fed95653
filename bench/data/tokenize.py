"""From rows of text to tensors: how a text becomes tokens is the same for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from bench.data import render
from bench.data.chat import Content, content, shared_length
from bench.data.formats import Format
from bench.data.render import IGNORED, Encoded
from bench.system.errors import UserError
from bench.system.first_fit import first_fit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode(
    rows: Mapping[str, Sequence[Any]],
    format: Format,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[Encoded]:
    """Token ids and labels of each row, at most `max_length` long."""
    if format == Format.LANGUAGE_MODELING:
        cut = [ids[:max_length] for ids in text_ids(rows["text"], tokenizer)]
        return [(ids, ids) for ids in cut]
    return encode_pairs(rows["prompt"], rows["completion"], tokenizer, max_length)


def encode_pairs(
    prompts: Sequence[Content],
    completions: Sequence[Content],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[Encoded]:
    """Rows whose labels cover the completion and its end alone; of a conversation, the assistant's
    turns in the completion.

    Prompt and completion are tokenised as one text, as they are when evaluated; what is too long
    loses the start of its prompt.
    """
    pairs = [(content(p), content(c)) for p, c in zip(prompts, completions, strict=True)]
    if all(isinstance(prompt, str) for prompt, _ in pairs):
        encoded = _encode_plain(prompts, completions, tokenizer)
    else:
        encoded = [render.encode_reply(p, c, tokenizer) for p, c in pairs]
    return [(ids[-max_length:], labels[-max_length:]) for ids, labels in encoded]


def _encode_plain(
    prompts: Sequence[Any], completions: Sequence[Any], tokenizer: PreTrainedTokenizerBase
) -> list[Encoded]:
    end = token_id(tokenizer, "eos")
    alone = tokenizer(list(prompts))["input_ids"]
    wholes = tokenizer([p + c for p, c in zip(prompts, completions, strict=True)])["input_ids"]
    encoded = []
    for prompt, whole in zip(alone, wholes, strict=True):
        # the last letters of a prompt may be of one token with the first of its completion
        ids, begin = whole + [end], shared_length(prompt, whole)
        encoded.append((ids, [IGNORED] * begin + ids[begin:]))
    return encoded


def prompt_ids(prompts: Sequence[Content], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids of each prompt, ready for a completion."""
    return _each(prompts, tokenizer, asks=True)


def text_ids(texts: Sequence[Content], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids of each text and its end; a conversation ends as its template says."""
    end = token_id(tokenizer, "eos")
    found = _each(texts, tokenizer, asks=False)
    return [
        [*ids, end] if isinstance(text, str) else ids
        for text, ids in zip(texts, found, strict=True)
    ]


def _each(
    contents: Sequence[Content], tokenizer: PreTrainedTokenizerBase, *, asks: bool
) -> list[list[int]]:
    given = [content(one) for one in contents]
    plain = [one for one in given if isinstance(one, str)]
    of_plain = iter(tokenizer(plain)["input_ids"] if plain else [])
    return [
        next(of_plain) if isinstance(one, str) else render.ids_of(one, tokenizer, asks=asks)
        for one in given
    ]


def token_id(tokenizer: PreTrainedTokenizerBase, name: Literal["pad", "bos", "eos"]) -> int:
    """Number of a special token that the tokenizer must have."""
    found = getattr(tokenizer, f"{name}_token_id")
    if not isinstance(found, int):
        raise UserError(f"the tokenizer has no {name} token")
    return found


def collate(encoded: list[Encoded], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Right-padded tensors of shape (rows, longest row): input_ids, attention_mask, labels."""
    import torch

    pad, width = token_id(tokenizer, "pad"), max(len(ids) for ids, _ in encoded)
    return {
        "input_ids": torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in encoded]),
        "attention_mask": torch.tensor(
            [[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in encoded]
        ),
        "labels": torch.tensor(
            [labels + [IGNORED] * (width - len(labels)) for _, labels in encoded]
        ),
    }


def pieces(
    texts: Sequence[Content], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[list[int]]:
    """Token ids of texts; one that is longer than `max_length` goes on in another piece."""
    return [
        ids[i : i + max_length]
        for ids in text_ids(texts, tokenizer)
        for i in range(0, len(ids), max_length)
    ]


def pack(
    texts: Sequence[Content], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> dict[str, Any]:
    """Texts packed into as few rows as first-fit-decreasing finds: input_ids, position_ids and
    labels, no attention mask.

    Positions start anew with each text, from which transformers sees that texts must not attend to
    one another. A text longer than `max_length` goes on in another row, as a text of its own. What
    is left of a row is filled with padding, and is charged as if it were data. Its positions count
    from 1: no text begins there.
    """
    import torch

    pad = token_id(tokenizer, "pad")
    known = pieces(texts, tokenizer, max_length)
    numbers = first_fit([len(piece) for piece in known], max_length)
    rows = [[known[number] for number in row] for row in numbers]
    width = max(sum(map(len, row)) for row in rows)
    ids, positions, labels = [], [], []
    for row in rows:
        rest = width - sum(map(len, row))
        ids.append([token for piece in row for token in piece] + [pad] * rest)
        positions.append(
            [place for piece in row for place in range(len(piece))] + list(range(1, rest + 1))
        )
        labels.append(
            [token for piece in row for token in [IGNORED, *piece[1:]]] + [IGNORED] * rest
        )
    return {
        name: torch.tensor(values)
        for name, values in (("input_ids", ids), ("position_ids", positions), ("labels", labels))
    }
