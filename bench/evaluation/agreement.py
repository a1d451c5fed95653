"""Whether the model that was trained and the one that was loaded say the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from bench.data.chat import opened
from bench.data.formats import Format
from bench.data.order import evenly_spaced
from bench.data.render import Encoded
from bench.data.sources import Split
from bench.data.tokenize import encode, encode_pairs
from bench.models.labelled import logits_after
from bench.models.rounding import TOLERANCES
from bench.system.errors import BrokenArtifact

if TYPE_CHECKING:
    from torch import Tensor

ROWS, LAST = 8, 16  # rows that are looked at, and tokens at the end of each
FILE = "trained-logits.safetensors"
COLUMNS = {
    Format.PROMPT_COMPLETION: ("prompt", "completion"),
    Format.INSTRUCTION: ("prompt", "completion"),
    Format.PREFERENCE: ("prompt", "chosen"),
    Format.PROMPT_ONLY: ("prompt", "answer"),
    Format.UNPAIRED_PREFERENCE: ("prompt", "completion"),
    Format.RANKING: ("prompt",),
    Format.LANGUAGE_MODELING: ("text",),
}
"""What is looked at of each format, in the order of preference."""


def remember(model: Any, session: Any, folder: Path) -> None:
    """Keep the trained model's logits on a few validation rows of the last target."""
    rows = first_rows(session.task, "validation", ROWS, session.tokenizer, session.max_length)
    given = [torch.tensor([ids]) for ids, _ in rows]
    said = {"logits": logits(model, given, session.device)}
    save_file(said | {str(number): row for number, row in enumerate(given)}, folder / FILE)


def first_rows(
    task: Any, split: Split, count: int, tokenizer: Any, max_length: int
) -> list[Encoded]:
    """The first rows of a split, whatever formats the task offers."""
    return _chosen(task, split, lambda total: range(min(count, total)), tokenizer, max_length)


def spread_rows(
    task: Any, split: Split, count: int, tokenizer: Any, max_length: int
) -> list[Encoded]:
    """As `first_rows`, evenly spaced over the split: files may be sorted by length."""
    return _chosen(task, split, lambda total: evenly_spaced(count, total), tokenizer, max_length)


def _chosen(
    task: Any, split: Split, choose: Callable[[int], Sequence[int]], tokenizer: Any, max_length: int
) -> list[Encoded]:
    format = next(f for f in COLUMNS if f in task.formats)
    data = task.load(format, split)
    rows = opened(data[choose(len(data))])
    if format == Format.LANGUAGE_MODELING:
        return encode(rows, format, tokenizer, max_length)
    prompts, *said = (rows[name] for name in COLUMNS[format] if name in rows)
    completions = [cell or "" for cell in said[0]] if said else [""] * len(prompts)
    return encode_pairs(prompts, completions, tokenizer, max_length)


@torch.no_grad()
def logits(model: Any, rows: Sequence[Tensor], device: torch.device) -> Tensor:
    """Logits after the last tokens of each row, (1, length), as float32 on the CPU: (tokens,
    vocabulary). A row at a time, as the check must not need more memory than what it is made for;
    every layer and every earlier token has its part in them.
    """
    model.eval()
    said = []
    for row in rows:
        ids = row.to(device)
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
        last = torch.arange(ids.shape[1], device=device)[None] >= ids.shape[1] - LAST
        said.append(logits_after(model, given, last)[0].float().cpu())
    return torch.cat(said)


def agree(model: Any, folder: Path, dtype: torch.dtype, device: torch.device) -> dict[str, float]:
    """The largest difference to what was remembered; `BrokenArtifact` where it is too large."""
    kept = load_file(folder / FILE)
    before = kept.pop("logits")
    after = logits(model, [kept[str(number)] for number in range(len(kept))], device)
    if after.shape != before.shape:
        raise BrokenArtifact(
            f"its logits have shape {tuple(after.shape)}, not {tuple(before.shape)}"
        )
    difference = float((after - before).abs().max() / before.abs().max().clamp_min(1e-9))
    tolerance = TOLERANCES[dtype]
    if not difference <= tolerance:
        raise BrokenArtifact(
            "the model that was loaded is not the one that was trained: their logits differ by"
            f" {difference:.2g} of the largest, more than {tolerance:g}"
        )
    return {"max_difference": difference, "tolerance": tolerance}
