"""Learning from completions that are each called good or bad, without pairs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench import Format, LogRange, Range

from .pairs import Preference

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

Weight = Annotated[
    float, Range(0.5, 2.0), Field(gt=0, description="weight of the loss of such completions")
]


class KTO(Preference):
    """Raises desirable completions and lowers undesirable ones, with the diminishing returns of
    human judgement of gains and losses.
    """

    formats: ClassVar = (Format.UNPAIRED_PREFERENCE,)
    reference: ClassVar = (
        "Ethayarajh et al. 2024, KTO: model alignment as prospect theoretic optimization,"
        " 2402.01306, eq. 7"
    )
    verified: ClassVar = "golden, gradients, bounds; equals trl.KTOTrainer"

    beta: Annotated[
        float,
        LogRange(1e-2, 1.0),
        Field(gt=0, description="how soon further gain or loss counts little"),
    ] = 0.1
    desirable_weight: Weight = 1.0
    undesirable_weight: Weight = 1.0

    def skip(self, session: Session) -> str | None:
        if session.batch_size < 2:
            return (
                "kto compares each prompt with a completion of another row, so a batch needs two"
                " rows"
            )
        return None

    def train(self, session: Session) -> PreTrainedModel:
        model, reference = self.policy(session), session.reference()
        optimizer = session.optimizer(model, self.lr)
        for rows in session.rows(Format.UNPAIRED_PREFERENCE):
            baseline = self.baseline(model, reference, session, rows)
            session.learn(
                optimizer, rows, partial(self.losses, model, reference, session, baseline)
            )
        return model

    def baseline(
        self, model: Any, reference: Any, session: Session, rows: dict[str, list[Any]]
    ) -> Tensor:
        """z₀ of a batch, from its completions, each after the next row's prompt; no shape."""
        import torch

        from . import losses
        from .likelihood import log_ratios

        completions = [rows["completion"][-1], *rows["completion"][:-1]]
        with torch.no_grad(), session.purpose("reference"):
            mismatched = log_ratios(model, reference, session, rows["prompt"], completions)
        return losses.kto_baseline(mismatched)

    def losses(
        self,
        model: Any,
        reference: Any,
        session: Session,
        baseline: Tensor,
        rows: dict[str, list[Any]],
    ) -> Tensor:
        """Loss of each row, of shape (rows,)."""
        import torch

        from . import losses
        from .likelihood import log_ratios

        ratios = log_ratios(model, reference, session, rows["prompt"], rows["completion"])
        desirable = torch.tensor(rows["label"], dtype=torch.bool, device=ratios.device)
        return losses.kto(
            ratios, desirable, baseline, self.beta, self.desirable_weight, self.undesirable_weight
        )

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """Mean implicit reward of desirable rows less that of undesirable ones; share of rows whose
        reward has the right sign.
        """
        import torch

        from .likelihood import log_ratios, share_above

        reference = session.reference()
        ratios, labels = [], []
        for rows in session.rows(Format.UNPAIRED_PREFERENCE):
            ratios.append(log_ratios(model, reference, session, rows["prompt"], rows["completion"]))
            labels += rows["label"]
        rewards = self.beta * torch.cat(ratios).double()
        desirable = torch.tensor(labels, dtype=torch.bool, device=rewards.device)
        margin = rewards[desirable].mean() - rewards[~desirable].mean()
        return {
            "reward_margin": float(margin),
            "reward_accuracy": float(share_above(torch.where(desirable, rewards, -rewards))),
        }
