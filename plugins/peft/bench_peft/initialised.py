"""Methods that pass data through the model, or change its weights, before they train. These passes
are charged as set-up.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bench import Choice, Format, LogRange

from . import IN_FRONT, LowRank, PeftMethod, fitted, wrapped
from .table import KEYS_VALUES, PROMPTS

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session

Rows = Annotated[
    int, Choice((64, 256)), Field(gt=0, description="training rows that the start is computed from")
]
RATE = Field(gt=0, description="peak learning rate of AdamW")
PromptRate = Annotated[float, LogRange(PROMPTS.low, PROMPTS.high), RATE]
KeysValuesRate = Annotated[float, LogRange(KEYS_VALUES.low, KEYS_VALUES.high), RATE]

SET_UP = "set-up"  # purpose of passes that a start is computed from


def first_batches(session: Session, rows: int) -> Iterator[dict[str, Tensor]]:
    """The first batches of training, with as many rows as asked for or a few more."""
    return islice(session.batches(Format.PROMPT_COMPLETION), -(-rows // session.batch_size))


class Eva(LowRank):
    """LoRA that starts from the directions in which each layer's inputs vary, with more rank where
    they vary more.
    """

    reference: ClassVar = "Paischer et al. 2024, EVA, 2410.07170 (peft.initialize_lora_eva_weights)"

    init_rows: Rows = 256
    rho: Annotated[
        float, Choice((1.0, 2.0)), Field(ge=1, description="largest rank of a layer over r")
    ] = 2.0

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import EvaConfig

        # All positions are looked at: short completions alone would be fewer than the directions
        # that are sought.
        return self.lora_config(
            init_lora_weights="eva", eva_config=EvaConfig(rho=self.rho, use_label_mask=False)
        )

    def adapted(self, session: Session) -> PeftModel:
        from peft import initialize_lora_eva_weights

        model = super().adapted(session)
        batches = list(first_batches(session, self.init_rows))
        with session.purpose(SET_UP):
            initialize_lora_eva_weights(model, batches, show_progress_bar=False)
        return model.train()


class Rebased(LowRank):
    """LoRA whose initialisation takes from the base weights what cannot be computed again: the
    changed weights become the start, and the factors are loaded onto them.
    """

    full_precision: ClassVar = "it changes the weights that it starts from"

    @abstractmethod
    def initial_config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        """LoRA's configuration with the method's own initialisation."""

    def initial(self, session: Session, start: PreTrainedModel) -> PeftModel:
        """The start with the factors that the method begins with."""
        return wrapped(start, self.initial_config(session, start))

    def adapted(self, session: Session) -> PeftModel:
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        initial = self.initial(session, session.model())
        factors = get_peft_model_state_dict(initial)
        session.rebase(initial.unload())  # pyright: ignore[reportCallIssue]
        model = super().adapted(session)
        set_peft_model_state_dict(model, factors)
        return model


class PissaNiter(Rebased):
    """PiSSA by a fast, random singular value decomposition."""

    reference: ClassVar = (
        "Meng et al. 2024, PiSSA, 2404.02948, §3"
        " (peft.LoraConfig(init_lora_weights='pissa_niter_…'))"
    )

    niter: Annotated[
        int, Choice((4, 16)), Field(gt=0, description="subspace iterations of the decomposition")
    ] = 16

    def initial_config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        return self.lora_config(init_lora_weights=f"pissa_niter_{self.niter}")


class Corda(Rebased):
    """LoRA that starts from the directions that matter most for the target's inputs."""

    reference: ClassVar = (
        "Yang et al. 2024, CorDA, 2406.05223, instruction-previewed"
        " (peft.tuners.lora.corda.preprocess_corda)"
    )
    one_gpu: ClassVar = "it decomposes each matrix together with its inputs"
    corda_method: ClassVar[Literal["ipm", "kpm"]] = "ipm"

    init_rows: Rows = 256

    def initial_config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        import torch
        from peft.tuners.lora.config import CordaConfig
        from peft.tuners.lora.corda import preprocess_corda

        corda = CordaConfig(corda_method=self.corda_method)
        config = self.lora_config(
            init_lora_weights="corda",
            corda_config=corda,
            target_modules=fitted.linear_modules(model),
        )

        @torch.no_grad()
        def look() -> None:
            for batch in self.looked_at(session):
                for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
                    model(input_ids=ids[mask.bool()][None])  # PEFT sums over one row at a time

        with session.purpose(SET_UP):
            preprocess_corda(model, config, run_model=look)  # pyright: ignore[reportArgumentType]
        return config

    def looked_at(self, session: Session) -> Iterator[dict[str, Tensor]]:
        return first_batches(session, self.init_rows)


class CordaKpm(Corda):
    """LoRA that starts from the directions that matter least for what should not be forgotten."""

    reference: ClassVar = (
        "Yang et al. 2024, CorDA, 2406.05223, knowledge-preserved"
        " (peft.tuners.lora.corda.preprocess_corda)"
    )
    corda_method: ClassVar[Literal["ipm", "kpm"]] = "kpm"

    def skip(self, session: Session) -> str | None:
        if any(Format.PROMPT_COMPLETION in task.formats for task in session.old):
            return None
        return "no retained task has prompts and completions whose knowledge it could preserve"

    def looked_at(self, session: Session) -> Iterator[dict[str, Tensor]]:
        rows = session.old_rows(Format.PROMPT_COMPLETION, session.batch_size)
        for columns in islice(rows, -(-self.init_rows // session.batch_size)):
            if session.progress >= 1:
                return
            yield session.encode(columns["prompt"], columns["completion"])


class LoraGa(Rebased):
    """LoRA that starts from the gradient, so that its first steps follow those of full training."""

    reference: ClassVar = (
        "Wang et al. 2024, LoRA-GA, 2407.05000 (peft.tuners.lora.loraga.preprocess_loraga)"
    )
    one_gpu: ClassVar = "it decomposes the gradients of whole matrices"

    init_rows: Rows = 64

    def initial_config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft.tuners.lora.config import LoraGAConfig
        from peft.tuners.lora.loraga import preprocess_loraga

        names = fitted.linear_modules(model)
        config = self.lora_config(
            init_lora_weights="lora_ga", lora_ga_config=LoraGAConfig(), target_modules=names
        )

        def look() -> None:
            for batch in first_batches(session, self.init_rows):
                model(**batch).loss.backward()

        with session.purpose(SET_UP):
            preprocess_loraga(model, config, look)  # pyright: ignore[reportArgumentType]
        return config


class Cartridge(PeftMethod):
    """Keys and values in front of the text that start as the model's own of training examples."""

    reference: ClassVar = (
        "Eyuboglu et al. 2025, Cartridges, 2506.06266, without its self-study data"
        " (peft.CartridgeConfig)"
    )
    padded: ClassVar = IN_FRONT
    unmerged: ClassVar = IN_FRONT

    lr: KeysValuesRate = 1e-2
    num_virtual_tokens: Annotated[
        int, Choice((5, 10, 20, 50)), Field(gt=1, description="learned keys and values per layer")
    ] = 20

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import CartridgeConfig

        return CartridgeConfig(task_type="CAUSAL_LM", num_virtual_tokens=self.num_virtual_tokens)

    def adapted(self, session: Session) -> PeftModel:
        import torch
        from peft import initialize_kv_prefix_from_past_key_values

        start = session.model()
        text = session.tokenizer(fitted.examples(session, start), return_tensors="pt")
        ids = text["input_ids"].to(session.device)
        ids = ids.repeat(1, -(-self.num_virtual_tokens // ids.shape[1]))
        ids = ids[:, : self.num_virtual_tokens]
        with torch.no_grad(), session.purpose(SET_UP):
            cache = start(input_ids=ids, use_cache=True).past_key_values
        model = wrapped(start, self.config(session, start))
        initialize_kv_prefix_from_past_key_values(model, past_key_values=cache)
        return model


class Cpt(PeftMethod):
    """Training examples in front of the text whose embeddings learn within narrow bounds."""

    reference: ClassVar = (
        "Blau et al. 2024, Context-aware prompt tuning, 2410.17222, §4 (peft.CPTConfig)"
    )
    padded: ClassVar = IN_FRONT
    unmerged: ClassVar = IN_FRONT
    # its loss is on the examples in front, too: no number of a start without them compares with it
    goal: ClassVar = ("loss", "lower")

    lr: PromptRate = 1e-3
    shots: Annotated[
        int, Choice((2, 4, 8)), Field(gt=0, description="training examples in front of the text")
    ] = 4
    opt_projection_epsilon: Annotated[
        float, LogRange(1e-2, 1.0), Field(gt=0, description="how far an embedding may move")
    ] = 0.1
    opt_loss_decay_factor: Annotated[
        float,
        Choice((0.9, 0.95, 1.0)),
        Field(gt=0, le=1, description="weight of an example's loss over that of the one behind it"),
    ] = 0.95

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        from peft import CPTConfig

        return CPTConfig(
            task_type="CAUSAL_LM",
            **self._context(session),
            opt_weighted_loss_type="decay",
            opt_loss_decay_factor=self.opt_loss_decay_factor,
            opt_projection_epsilon=self.opt_projection_epsilon,
            opt_projection_format_epsilon=self.opt_projection_epsilon,
        )

    def losses(self, model: PeftModel, batch: dict[str, Tensor]) -> Tensor:
        """PEFT's loss, a weighted mean over the labels of the text and of the examples before it,
        once for each of these labels.
        """
        config: Any = model.active_peft_config
        in_front = sum(kind % 4 == 0 for kind in config.cpt_tokens_type_mask)
        labels = int((batch["labels"] >= 0).sum()) + in_front * len(batch["labels"])
        return model(**batch).loss.expand(labels)

    def _context(self, session: Session) -> dict[str, Any]:
        """The examples' tokens, and for each its kind in PEFT's code: 4·n + 2 in the prompt of
        example n, 4·n + 4 in its completion.
        """
        rows = session.dataset(Format.PROMPT_COMPLETION)[: self.shots]
        batch = session.encode(rows["prompt"], rows["completion"])
        real = batch["attention_mask"].bool()
        kinds = (batch["labels"] >= 0).long() * 2 + 2
        kinds += 4 * kinds.new_tensor(range(len(kinds)))[:, None]
        ids = batch["input_ids"][real].tolist()
        return {
            "cpt_token_ids": ids,
            "cpt_mask": [1] * len(ids),
            "cpt_tokens_type_mask": kinds[real].tolist(),
        }
