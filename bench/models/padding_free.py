"""The texts of a padded batch side by side in fewer rows, so that hardly any padding passes.

None of them attends to another: positions start anew with each, from which transformers sees that.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from bench.models.rounding import TOLERANCES
from bench.system.errors import Skipped
from bench.system.first_fit import first_fit
from bench.system.side_by_side import side_by_side

MARK, APART = "_padding_free", "_tells_texts_apart"
PADDED = {"input_ids", "attention_mask"}
"""What a model takes of a padded batch, beside positions, which count from a text's first token."""
BEFORE, BEHIND = 5, 6
"""Tokens of two texts that a model must tell apart."""


def turn_on(model: Any) -> None:
    """From here on, likelihoods of this model are computed without padding. Raises `Skipped` where
    the model would see the texts of a row as one.
    """
    if not tells_apart(model):
        raise Skipped(
            f"padding_free does not work with {type(model).__name__}, which cannot tell texts in"
            " one row apart by their positions"
        )
    setattr(model, MARK, True)


def tells_apart(model: Any) -> bool:
    """Whether a text has the hidden states behind another one that it has alone, but for rounding.
    Where weights hold no numbers, nobody knows, and it is taken to. A model is looked at once.
    """
    if not hasattr(model, APART):
        by_position = "position_ids" in signature(model.forward).parameters
        setattr(model, APART, by_position and _looked_at(model))
    return getattr(model, APART)


@torch.no_grad()
def _looked_at(model: Any) -> bool:
    weight = next(model.parameters())
    if weight.is_meta or isinstance(weight, FakeTensor):
        return True
    decoder, training = model.get_decoder(), model.training
    ids = torch.arange(1, 1 + BEFORE + BEHIND, device=model.device)[None]
    places = torch.cat([torch.arange(BEFORE), torch.arange(BEHIND)]).to(model.device)[None]
    model.eval()
    try:
        behind = decoder(input_ids=ids, position_ids=places, use_cache=False)[0][0, BEFORE:]
        alone = decoder(input_ids=ids[:, BEFORE:], use_cache=False)[0][0]
    except TypeError:  # it takes no positions
        return False
    finally:
        model.train(training)
    tolerance = TOLERANCES[weight.dtype] * float(alone.abs().max())
    return float((behind - alone).abs().max()) <= tolerance


@dataclass(frozen=True)
class SideBySide:
    """A batch of (rows, length) as (fewer rows, length)."""

    inputs: dict[str, Any]
    """What the model takes."""
    lengths: Tensor
    """Tokens of each text, (texts,)."""
    _places: Tensor
    """Where each token stood, of rows · length, or -1 for what is left of a row."""

    @property
    def charged(self) -> AbstractContextManager[None]:
        """Passes of these inputs belong in here."""
        return side_by_side(self.lengths)

    def moved(self, values: Tensor) -> Tensor:
        """Something of each token, (rows, length), where the tokens are now; 0 beside them."""
        found = values.flatten()[self._places.clamp(min=0)]
        return found.masked_fill(self._places < 0, 0)

    def as_before(self, values: Tensor, of: Tensor) -> Tensor:
        """Something of each token at which `of`, (rows, length), is true: given in the order of the
        tokens now, returned in their order in the batch.
        """
        return values[self._places[self.moved(of)].argsort()]


def arranged(model: Any, inputs: dict[str, Any]) -> SideBySide | None:
    """A padded batch without its padding; None where it is not asked for, or already so."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not getattr(base, MARK, False) or inputs.keys() - {"position_ids"} != PADDED:
        return None
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    begins, counts = (t.tolist() for t in (mask.long().argmax(1), mask.sum(1)))
    places, positions = _laid_out(begins, counts, ids.shape[1])
    there = torch.from_numpy(places).to(ids.device)
    return SideBySide(
        {
            "input_ids": ids.flatten()[there.clamp(min=0)],
            "position_ids": torch.from_numpy(positions).to(ids.device),
            "use_cache": False,  # with a cache, transformers takes a row for one text
        },
        mask.sum(1),
        there,
    )


def _laid_out(
    begins: list[int], counts: list[int], length: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Places and positions of texts in as few rows as first-fit-decreasing finds, (rows, length).

    Positions of what is left of a row count from 1: no text begins there.
    """
    rows = first_fit(counts, length)
    places = np.full((len(rows), length), -1)
    positions = np.empty((len(rows), length), dtype=places.dtype)
    for row, texts in enumerate(rows):
        end = 0
        for text in texts:
            own = np.arange(counts[text])
            positions[row, end + own] = own
            places[row, end + own] = text * length + begins[text] + own
            end += counts[text]
        positions[row, end:] = np.arange(1, length - end + 1)
    return places, positions
