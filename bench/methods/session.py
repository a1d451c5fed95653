"""What a method is handed while it trains: start model, data, budget, one way of stepping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from datasets import Dataset
from torch import Tensor
from torch.optim import Optimizer

from bench.accounting.budget import Budget
from bench.accounting.ledger import Ledger
from bench.data import tokenize
from bench.data.chat import Content, opened
from bench.data.formats import TEXTS, Format
from bench.data.tasks import Task
from bench.methods import rewards
from bench.methods.fit import gradient
from bench.methods.hand_out import adapted, frozen, hand_out
from bench.methods.in_parts import clip
from bench.methods.learning import taken, trained
from bench.methods.optimizer import optimizer_of
from bench.methods.packing import packed
from bench.methods.part import part_of
from bench.methods.row_order import look, looked_at, old_rows, ordered, row_numbers
from bench.methods.run_log import RunLog
from bench.methods.schedule import CLIP
from bench.methods.state import SessionState
from bench.models.artifact import save_model
from bench.models.start import Start, load_scorer, load_start

if TYPE_CHECKING:
    from transformers import PreTrainedModel

B = TypeVar("B")


@dataclass
class Session(SessionState):
    """One training of one method on one task: the harness makes it, a method reads and calls it."""

    def model(self, purpose: str = "train") -> PreTrainedModel:
        """A fresh copy of the start model, in training mode and metered. Loading it is not charged.

        `purpose` is the line of the ledger that its passes are charged to.
        """
        model = hand_out(self, load_start, purpose)
        return (adapted(self, model) if purpose == "train" else model).train()

    def reference(self) -> PreTrainedModel:
        """A frozen copy of the start model in evaluation mode, charged as reference."""
        return frozen(self, hand_out(self, load_start, "reference"))

    def scorer(self, purpose: str) -> PreTrainedModel:
        """The start model with a new head of one output per token: a reward model or a critic."""
        scorer = adapted(self, hand_out(self, load_scorer, purpose)).train()
        scorer.config.get_text_config().pad_token_id = self.tokenizer.pad_token_id
        return scorer

    def reward(
        self,
        rows: Mapping[str, Sequence[Any]],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]] | None = None,
    ) -> Tensor:
        """What the task rewards each completion with: (completions,), float32, on the device.

        `rows` are columns of prompt-only rows, one row for each completion. `completion_ids` are
        the tokens of the completions, for reward functions that ask for them; without them the
        text is tokenised. Passes of a classifier are charged as reward. Raises `BrokenReward`.
        """
        return rewards.earned(self, rows, completions, completion_ids)

    def rebase(self, model: PreTrainedModel) -> None:
        """Make a model's present weights the start, and save them with the adapter to come."""
        folder = self.folder / "rebased"
        save_model(model, folder, self.dtype, self.start)
        self.start = self.start.moved(folder)

    def dataset(self, format: Format) -> Dataset:
        """All training rows of the target in one format, in order; turns stay lists of turns."""
        self._ordered = ordered(self, self.task.load(format, self._split), format)
        return self._ordered.rows

    def rows(self, format: Format) -> Iterator[dict[str, list[Any]]]:
        """Batches of `batch_size` rows as columns, in the order that all recipes share; ends when
        the budget is spent. Prompts and completions are text or `Conversation`s.
        """
        data = self.task.load(format, self._split)
        numbers = row_numbers(self, data, format)
        while self._account.open_batch():
            yield opened(data[list(islice(numbers, self.batch_size))])

    def batches(self, format: Format) -> Iterator[dict[str, Tensor]]:
        """As `rows`, tokenised: input_ids, attention_mask and labels of shape (batch_size, longest
        row) on the device.
        """
        if format not in TEXTS:
            raise ValueError(f"batches() gives {', '.join(TEXTS)}; take {format} as rows()")
        for rows in self.rows(format):
            encoded = tokenize.encode(rows, format, self.tokenizer, self.max_length)
            yield self._on_device(tokenize.collate(encoded, self.tokenizer))

    def old_rows(
        self, format: Format, size: int, of: Sequence[Task] | None = None
    ) -> Iterator[dict[str, list[Any]]]:
        """Batches of `size` training rows of the `old` tasks, or of some of them, as columns,
        without end; every task has the same share of the rows.
        """
        return old_rows(self, format, size, self.old if of is None else of)

    def encode(
        self, prompts: Sequence[Content], completions: Sequence[Content]
    ) -> dict[str, Tensor]:
        """Right-padded input_ids, attention_mask and labels of (rows, longest row) on the device;
        labels cover the completions alone, and of a conversation the assistant's turns in them.
        """
        encoded = tokenize.encode_pairs(prompts, completions, self.tokenizer, self.max_length)
        return self._on_device(tokenize.collate(encoded, self.tokenizer))

    def prompt_ids(self, prompts: Sequence[Content]) -> list[list[int]]:
        """Token ids of each prompt, ready for a completion; any may be longer than `max_length`."""
        return tokenize.prompt_ids(prompts, self.tokenizer)

    def end_ids(self, model: Any) -> list[int]:
        """All tokens that end a completion of a model, as TRL takes them: the tokenizer's end of
        sequence, and what else the model declares, such as the end of a turn.
        """
        declared = model.generation_config.eos_token_id
        more = [declared] if isinstance(declared, int) else declared or []
        return list(dict.fromkeys([tokenize.token_id(self.tokenizer, "eos"), *more]))

    def pack(self, texts: Sequence[Content]) -> dict[str, Tensor]:
        """Whole texts side by side in as few rows of `max_length` as they need, none of which
        attends to another: what a model takes, and labels, on the device. A model that cannot tell
        texts in a row apart has each in a row of its own.
        """
        return self._on_device(packed(self, texts))

    def _on_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def optimizer(self, model: torch.nn.Module, lr: float) -> Optimizer:
        """AdamW in float32, without weight decay, over all that requires a gradient."""
        return optimizer_of(model, lr, self.device, self.optim)

    def learn(self, optimizer: Optimizer, batch: B, loss_of: Callable[[B], Tensor]) -> None:
        """One optimizer step on a batch.

        `batch` has one entry per row in everything it holds. `loss_of` gives one loss per item
        (labelled token, pair, completion) of a part of the batch, as a 1-D tensor; what is
        minimized is their mean over all items of the batch, so the gradient does not depend on how
        the batch is split. Clips the gradient, sets the learning rate, steps. The rate rises and
        falls over what was left of the budget at this optimizer's first step. Raises `Diverged`
        where the loss is no finite number.
        """
        loss = gradient(self, batch, loss_of, optimizer)
        self.log.take_loss(self.ledger.steps + 1, loss)
        clip(trained(optimizer), CLIP)
        self._phases.anneal(optimizer)
        optimizer.step()
        optimizer.zero_grad()

    def gradient(
        self, optimizer: Optimizer, batch: B, loss_of: Callable[[B], Tensor]
    ) -> list[Tensor]:
        """The gradient that `learn` would step on, before it is clipped, for each parameter of the
        optimizer; there is no step.
        """
        gradient(self, batch, loss_of, optimizer)
        return taken(optimizer)

    def trainer_kwargs(self, config: Callable[..., Any], **settings: Any) -> dict[str, Any]:
        """Arguments for a Hugging Face or TRL trainer, whose own class of arguments is `config`:
        everybody's precision, batch, schedule and stop rule, and the method's `settings`.
        """
        from bench.methods import trainer

        return trainer.arguments(self, config, settings)

    def stage(
        self, name: str, until: float, start: Start | None = None
    ) -> AbstractContextManager[Session]:
        """A session for a part of this one, which may spend up to the share `until` (0..1) of the
        budget. What an earlier part overspent, it has less. Its data comes in another order.
        """
        return part_of(self, name, until, start)

    def validation(self, start: Start) -> ValidationSession:
        """A session on a start and on validation rows, with a ledger that nobody reads."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        given |= {"ledger": Ledger(), "budget": Budget("steps", math.inf), "log": RunLog()}
        given |= {"look": look(self.budget), "start": start, "compiled": False}
        given |= {"_split": "validation"}
        made = ValidationSession(**given)
        made.judges = self.judges  # nobody is charged while the harness looks
        return made


@dataclass
class ValidationSession(Session):
    """For looking at a model: the first validation rows, once, and `look` tokens at most."""

    look: float = math.inf

    def rows(self, format: Format) -> Iterator[dict[str, list[Any]]]:
        self._account.open_batch()
        yield from looked_at(self, self.task.load(format, self._split), format, self.look)
