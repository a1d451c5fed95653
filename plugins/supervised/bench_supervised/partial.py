"""Supervised fine-tuning of a part of the parameters: the biases, or a few layers at a time."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bench import Choice, Format, LogRange, Method, decoder_layers, token_losses

from . import Rate

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from bench import Session


class BitFit(Method):
    """Trains the biases alone, on prompts and completions of the target."""

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    reference: ClassVar = "Ben Zaken et al. 2021, BitFit, 2106.10199"
    verified: ClassVar = "only biases move, on GPT-2 and Qwen2"
    family: ClassVar = "parameter-efficient"

    lr: Annotated[
        float, LogRange(1e-4, 1e-1), Field(gt=0, description="peak learning rate of AdamW")
    ] = 1e-3

    def skip(self, session: Session) -> str | None:
        model = session.model()
        has_biases = any(_is_bias(name) for name, _ in model.named_parameters())
        return None if has_biases else f"{type(model).__name__} has no biases to train"

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(_is_bias(name))
        optimizer = session.optimizer(model, self.lr)
        for batch in session.batches(Format.PROMPT_COMPLETION):
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        return model


def _is_bias(name: str) -> bool:
    return name.endswith("bias")


class Lisa(Method):
    """Trains embeddings, head and a few random decoder layers at a time, on prompts and completions
    of the target.
    """

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    reference: ClassVar = "Pan et al. 2024, LISA, 2403.17919, Algorithm 1"
    verified: ClassVar = (
        "γ = all is sft bit for bit; frozen layers bit for bit; trainable count per interval; Adam"
        " state cleared"
    )
    family: ClassVar = "supervised"

    lr: Rate = 2e-5
    activated_layers: Annotated[
        int, Choice((1, 2, 4, 8)), Field(gt=0, description="γ, decoder layers that train at a time")
    ] = 2
    interval_steps: Annotated[
        int,
        Choice((3, 5, 10, 20, 50)),
        Field(gt=0, description="K, optimizer steps between two draws of layers, in every budget"),
    ] = 20

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        layers = decoder_layers(model)
        optimizer = session.optimizer(model, self.lr)
        chance, trained = random.Random(session.seed), set[int]()
        for number, batch in enumerate(session.batches(Format.PROMPT_COMPLETION)):
            if number % self.interval_steps == 0:
                drawn = chance.sample(range(len(layers)), min(self.activated_layers, len(layers)))
                activate(layers, drawn, optimizer)
                trained.update(drawn)
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        for number in trained:  # so that trained parameters count as trainable
            layers[number].requires_grad_(True)
        return model


class BAdam(Method):
    """Trains one decoder layer at a time, in random order, on prompts and completions of the
    target; embeddings and head stay frozen.
    """

    formats: ClassVar = (Format.PROMPT_COMPLETION,)
    reference: ClassVar = "Luo et al. 2024, BAdam, 2404.02827, Algorithm 1"
    verified: ClassVar = (
        "one layer is AdamW on it bit for bit; each layer once per pass; frozen layers bit for bit;"
        " Adam state cleared"
    )
    family: ClassVar = "supervised"

    # the authors' example in LLaMA-Factory (examples/extras/badam)
    lr: Rate = 5e-5
    block_epochs: Annotated[
        int,
        Choice((1, 2, 4, 8)),
        Field(
            gt=0,
            description="passes over all layers; K, the steps on one layer, is the budget over"
            " these and the number of layers",
        ),
    ] = 2

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model().requires_grad_(False)
        layers = decoder_layers(model).requires_grad_(True)
        optimizer = session.optimizer(model, self.lr)
        chance, count, trained, turn = random.Random(session.seed), len(layers), set[int](), -1
        order = [n for _ in range(self.block_epochs) for n in chance.sample(range(count), count)]
        for batch in session.batches(Format.PROMPT_COMPLETION):
            due = min(int(session.progress * len(order)), len(order) - 1)
            if due > turn:
                turn = due
                activate(layers, {order[turn]}, optimizer)
                optimizer.state.clear()  # of the same layer, too, drawn twice in a row
                trained.add(order[turn])
            session.learn(optimizer, batch, lambda part: token_losses(model, part))
        for number in trained:  # so that trained parameters count as trainable
            layers[number].requires_grad_(True)
        return model


def activate(layers: nn.ModuleList, drawn: Collection[int], optimizer: Optimizer) -> None:
    """Unfreeze the drawn layers, freeze the others and drop their optimizer state."""
    for number, layer in enumerate(layers):
        layer.requires_grad_(number in drawn)
        if number not in drawn:
            for parameter in layer.parameters():
                optimizer.state.pop(parameter, None)
