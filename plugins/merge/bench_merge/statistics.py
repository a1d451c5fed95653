"""What a merge asks of each part: its Fisher information, and what goes into its linear layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from bench import Format, Session, Skipped

from .merging import TRANSPOSED

if TYPE_CHECKING:
    from bench import Weights


def rows(session: Session, format: Format, examples: int) -> Iterator[dict[str, Tensor]]:
    """So many rows of the target, each tokenised on its own; fewer, where the budget is spent.
    `Skipped` where there is not even one.
    """
    given = 0
    for batch in session.rows(format):
        for prompt, completion in zip(batch["prompt"], batch["completion"], strict=True):
            yield session.encode([prompt], [completion])
            given += 1
            if given == examples or session.progress >= 1:
                return
    if not given:
        raise Skipped("no budget is left to measure a part on: give it more, or merge fewer parts")


def diagonal_fisher(session: Session, format: Format, examples: int) -> Weights:
    """The mean over rows of the squared gradient of the log-likelihood of an answer that the model
    itself gives, one draw for each token after the text before it; charged as `fisher`.
    """
    model = session.model("fisher").eval()
    parameters = dict(model.named_parameters())
    totals = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    count = 0
    for row in rows(session, format, examples):
        asked = row.pop("labels")[0, 1:] >= 0
        log_probabilities = model(**row).logits[0, :-1][asked].float().log_softmax(-1)
        drawn = torch.multinomial(log_probabilities.detach().exp(), 1)
        found = torch.autograd.grad(
            log_probabilities.gather(1, drawn).sum(), list(parameters.values()), allow_unused=True
        )
        for total, gradient in zip(totals.values(), found, strict=True):
            if gradient is not None:
                total.add_(gradient.float().square())
        count += 1
    return {name: (total / count).cpu() for name, total in totals.items()}


@torch.no_grad()
def input_grams(session: Session, format: Format, examples: int) -> Weights:
    """XᵀX of (inputs, inputs) for each linear layer by the name of its weight, X being all that
    goes into it, a row for each token of prompts and completions; charged as `regmean`. `Skipped`
    where a model has no such layer.

    The name of a weight that is kept as (inputs, outputs) ends in `TRANSPOSED`: where both are
    equally many, its shape does not tell.
    """
    model = session.model("regmean").eval()
    head = model.get_output_embeddings()
    layers = {
        f"{name}.weight{TRANSPOSED if isinstance(m, Conv1D) else ''}": m
        for name, m in model.named_modules()
        if isinstance(m, (nn.Linear, Conv1D)) and m is not head
    }
    if not layers:
        raise Skipped(f"{type(model).__name__} has no linear layers whose inputs could be measured")
    grams: Weights = {}

    def adding(name: str) -> Callable[..., None]:
        def add(_: Any, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].float().flatten(0, -2)
            grams[name] = grams.get(name, 0) + x.T @ x

        return add

    hooks = [m.register_forward_pre_hook(adding(name)) for name, m in layers.items()]
    for row in rows(session, format, examples):
        model(input_ids=row["input_ids"], attention_mask=row["attention_mask"])
    for hook in hooks:
        hook.remove()
    return {name: gram.cpu() for name, gram in grams.items()}
