"""How a sample that was cut off before its end becomes tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from torch import Tensor

    from bench import Session

UNLABELLED = -100


class CutOff(str):
    """The text of a sample that reached the most tokens before an end. It stands wherever the text
    of another sample does.
    """

    ids: list[int]
    """What was sampled."""

    @classmethod
    def of(cls, text: str, ids: list[int]) -> CutOff:
        made = cls(text)
        made.ids = ids
        return made


def encoded(
    session: Session, prompts: Sequence[Any], completions: Sequence[str]
) -> dict[str, Tensor]:
    """As `session.encode`; but what was cut off is as it was sampled, with no end behind it. The
    model did not say one, so it must not be taught or judged as if it had.
    """
    batch = session.encode(prompts, completions)
    if not any(isinstance(completion, CutOff) for completion in completions):
        return batch
    names = ("input_ids", "attention_mask", "labels")
    rows = []
    for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        if isinstance(completion, CutOff):
            asked, said = session.prompt_ids([prompt])[0], completion.ids
            ids, labels = asked + said, [UNLABELLED] * len(asked) + said
            row = torch.tensor([ids, [1] * len(ids), labels])[:, -session.max_length :]
            rows.append(row.to(session.device))
        else:
            length = int(batch["attention_mask"][number].sum())
            rows.append(torch.stack([batch[name][number, :length] for name in names]))
    pad: Any = session.tokenizer.pad_token_id
    fills = (pad, 0, UNLABELLED)
    return {
        name: pad_sequence([row[line] for row in rows], batch_first=True, padding_value=fill)
        for line, (name, fill) in enumerate(zip(names, fills, strict=True))
    }
