"""From rows of text to tensors: how a text becomes tokens is the same for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from bench.data.formats import Format
from bench.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100

Encoded = tuple[list[int], list[int]]
"""Token ids and labels of one row."""


def encode(
    rows: Mapping[str, Sequence[str]],
    format: Format,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[Encoded]:
    """Token ids and labels of each row, at most `max_length` long, ending in the end-of-sequence
    token.
    """
    if format == Format.LANGUAGE_MODELING:
        end = token_id(tokenizer, "eos")
        texts: list[list[int]] = tokenizer(list(rows["text"]))["input_ids"]
        cut = [(ids + [end])[:max_length] for ids in texts]
        return [(ids, ids) for ids in cut]
    return encode_pairs(rows["prompt"], rows["completion"], tokenizer, max_length)


def encode_pairs(
    prompts: Sequence[str],
    completions: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[Encoded]:
    """Rows whose labels cover the completion and its end alone.

    Prompt and completion are tokenised as one text, as they are when evaluated; what is too long
    loses the start of its prompt.
    """
    end = token_id(tokenizer, "eos")
    alone = tokenizer(list(prompts))["input_ids"]
    wholes = tokenizer([p + c for p, c in zip(prompts, completions, strict=True)])["input_ids"]
    encoded = []
    for prompt, whole in zip(alone, wholes, strict=True):
        ids = whole + [end]
        labels = [IGNORED] * len(prompt) + ids[len(prompt) :]
        encoded.append((ids[-max_length:], labels[-max_length:]))
    return encoded


def token_id(tokenizer: PreTrainedTokenizerBase, name: Literal["pad", "bos", "eos"]) -> int:
    """Number of a special token that the tokenizer must have."""
    found = getattr(tokenizer, f"{name}_token_id")
    if not isinstance(found, int):
        raise UserError(f"the tokenizer has no {name} token")
    return found


def collate(encoded: list[Encoded], pad: int) -> dict[str, Any]:
    """Right-padded tensors of shape (rows, longest row): input_ids, attention_mask, labels."""
    import torch

    width = max(len(ids) for ids, _ in encoded)
    return {
        "input_ids": torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in encoded]),
        "attention_mask": torch.tensor(
            [[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in encoded]
        ),
        "labels": torch.tensor(
            [labels + [IGNORED] * (width - len(labels)) for _, labels in encoded]
        ),
    }


def pack(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> dict[str, Any]:
    """Texts packed into as few rows as first-fit-decreasing finds: input_ids, position_ids and
    labels, no attention mask.

    Positions start anew with each text, from which transformers sees that texts must not attend to
    one another. A text longer than `max_length` goes on in another row. What is left of a row is
    filled with padding, and is charged as if it were data.
    """
    import torch

    end, pad = token_id(tokenizer, "eos"), token_id(tokenizer, "pad")
    pieces = [
        (ids + [end])[i : i + max_length]
        for ids in tokenizer(list(texts))["input_ids"]
        for i in range(0, len(ids) + 1, max_length)
    ]
    rows: list[list[list[int]]] = []
    for piece in sorted(pieces, key=len, reverse=True):
        row = next((r for r in rows if sum(map(len, r)) + len(piece) <= max_length), None)
        if row is None:
            rows.append([piece])
        else:
            row.append(piece)
    width = max(sum(map(len, row)) for row in rows)
    ids, positions, labels = [], [], []
    for row in rows:
        rest = width - sum(map(len, row))
        ids.append([token for piece in row for token in piece] + [pad] * rest)
        positions.append(
            [place for piece in row for place in range(len(piece))] + list(range(rest))
        )
        labels.append(
            [token for piece in row for token in [IGNORED, *piece[1:]]] + [IGNORED] * rest
        )
    return {
        name: torch.tensor(values)
        for name, values in (("input_ids", ids), ("position_ids", positions), ("labels", labels))
    }
