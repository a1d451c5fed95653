"""Every method of this package under its name, those of the table made into classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import create_model

from bench import Method

from . import (
    IN_FRONT,
    AdapterAlone,
    Lora,
    PeftMethod,
    PrefixTuning,
    PromptTuning,
    initialised,
    intruders,
    optimizers,
    quantised,
    trained,
)
from .table import ROWS, Row

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from bench import Session


class TableMethod(PeftMethod):
    """What a row of the table says."""

    row: ClassVar[Row]

    def config(self, session: Session, model: PreTrainedModel) -> PeftConfig:
        import peft

        fixed = {
            name: value(session, model) if callable(value) else value
            for name, value in self.row.settings.items()
        }
        chosen = {name: getattr(self, name) for name in self.row.sizes}
        return getattr(peft, self.row.config)(task_type="CAUSAL_LM", **fixed, **chosen)


class TableAdapter(TableMethod, AdapterAlone):
    """A row of the table that is an adapter inside the layers and nothing else."""


class WholeBatch(TableMethod):
    """A method in which every token of a batch depends on all the others, so that no part of it has
    a gradient of its own.
    """

    def fit(self, session: Session, model: PeftModel, optimizer: Optimizer) -> None:
        for batch in session.batches(self.formats[0]):
            unit = {"batch": [batch]}  # one entry, which is not split
            session.learn(optimizer, unit, lambda part: self.losses(model, part["batch"][0]))


BASES: dict[str, type[TableMethod]] = {
    "lily": WholeBatch  # its router is averaged over all tokens of a pass
}


DECOMPOSES = "it decomposes weight matrices"
ENTRIES = "PEFT computes with the entries of weight matrices"
FULL_PRECISION = {
    **dict.fromkeys("adamss frod mica osf pissa psoft tinylora".split(), DECOMPOSES),
    **dict.fromkeys("deft delora glora hra loha lokr peanut supertuning".split(), ENTRIES),
    "lora-orthogonal": "its factors get the type of the weights",
    "lora-target-parameters": "it replaces the weights of layers",
    "olora": "it changes the weights that it starts from",
    "velora": "PEFT has no VeLoRA on quantized layers",
}
"""Rows of the table that cannot train on a quantized model, and why."""
PADDED = {"lily": "its router is averaged over a row"}
"""Rows of the table whose batches stay padded, and why."""
UNMERGED = {
    "adaption-prompt": "it learns keys and values of its own in every layer",
    "beft": "PEFT cannot merge its biases",
    "lily": "its router looks at the inputs of a layer",
    "lora-bias": "its bias has no place in a layer without one",
}
"""Rows of the table whose adapters cannot become part of the weights, and why."""


def made(row: Row) -> type[TableMethod]:
    """A method class of a row of the table."""
    name = row.name.title().replace("-", "")
    in_front = "num_virtual_tokens" in row.sizes
    base = BASES.get(row.name, TableMethod if in_front else TableAdapter)
    fields: dict[str, Any] = {"lr": row.rate, **row.sizes}
    method = create_model(name, __base__=base, __module__=__name__, __doc__=row.line, **fields)
    method.row, method.family = row, row.family
    method.full_precision = FULL_PRECISION.get(row.name, "")
    method.padded = IN_FRONT if in_front else PADDED.get(row.name, "")
    method.unmerged = IN_FRONT if in_front else UNMERGED.get(row.name, "")
    method.reference = (
        row.reference
        if row.reference.startswith("peft.")
        else f"{row.reference} (peft.{row.config})"
    )
    return method


WRITTEN: dict[str, type[Method]] = {
    "lora": Lora,
    "prompt-tuning": PromptTuning,
    "prefix-tuning": PrefixTuning,
    "adalora": trained.AdaLora,
    "adamss-asa": trained.AdamssAsa,
    "kasa": trained.Kasa,
    "monteclora": trained.MonteCLora,
    "lora-plus": optimizers.LoraPlus,
    "lora-fa": optimizers.LoraFa,
    "lora-riemannian": optimizers.LoraRiemannian,
    "vblora": optimizers.Vblora,
    "alora": trained.ALora,
    "shadow": trained.Shadow,
    "eva": initialised.Eva,
    "pissa-niter": initialised.PissaNiter,
    "corda": initialised.Corda,
    "corda-kpm": initialised.CordaKpm,
    "lora-ga": initialised.LoraGa,
    "qlora": quantised.QLora,
    "loftq": quantised.LoftQ,
    "lora-intruders": intruders.LoraIntruders,
    "cartridge": initialised.Cartridge,
    "cpt": initialised.Cpt,
}
MADE: dict[str, type[TableMethod]] = {row.name: made(row) for row in ROWS}
METHODS: dict[str, type[Method]] = {**WRITTEN, **MADE}

globals().update({method.__name__: method for method in MADE.values()})
