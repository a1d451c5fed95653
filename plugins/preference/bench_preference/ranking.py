"""Learning from several completions of one prompt, each with a score."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from bench import Format

from .pairs import Preference, Rate

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

    from .likelihood import Likelihoods


class RRHF(Preference):
    """Ranks candidates by mean log-probability as their scores rank them, and fine-tunes on the
    best one.
    """

    formats: ClassVar = (Format.RANKING,)
    goal: ClassVar = ("reward_accuracy", "higher")  # once the order is right, its gradient is zero
    reference: ClassVar = (
        "Yuan et al. 2023, RRHF: rank responses to align language models with human feedback,"
        " 2304.05302, §3.1"
    )
    verified: ClassVar = (
        "golden, gradients, permutations; two candidates are SLiC with δ = 0; 1 batch or 4 parts"
    )

    lr: Rate = 2e-5

    def train(self, session: Session) -> PreTrainedModel:
        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        for rows in session.rows(Format.RANKING):
            session.learn(optimizer, rows, partial(self.losses, model, session))
        return model

    def losses(self, model: Any, session: Session, rows: dict[str, list[Any]]) -> Tensor:
        """For each row the loss of its order plus the negative log-likelihood of its best
        candidate, of shape (rows,).
        """
        import torch

        from . import losses

        ranked = _ranked(model, session, rows)
        return torch.stack(
            [
                losses.rrhf_rank(said.mean, scores) - said.logp[scores.argmax()]
                for said, scores in ranked
            ]
        )

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """How far, and how often, the mean log-probability of a better candidate is above that of a
        worse one of the same prompt.
        """
        from .likelihood import outcome

        pairs = []
        for rows in session.rows(Format.RANKING):
            for said, scores in _ranked(model, session, rows):
                better, worse = (scores[:, None] > scores[None, :]).nonzero(as_tuple=True)
                pairs.append((said.mean[better], said.mean[worse]))
        return outcome(pairs)


def _ranked(
    model: Any, session: Session, rows: dict[str, list[Any]]
) -> list[tuple[Likelihoods, Tensor]]:
    """The candidates and the scores of each row."""
    import torch

    from .likelihood import likelihoods

    sizes = [len(candidates) for candidates in rows["completions"]]
    prompts = [
        prompt for prompt, size in zip(rows["prompt"], sizes, strict=True) for _ in range(size)
    ]
    said = likelihoods(
        model, session, prompts, [c for candidates in rows["completions"] for c in candidates]
    )
    scores = [torch.tensor(s, device=said.logp.device) for s in rows["scores"]]
    return list(zip(said.split(sizes), scores, strict=True))
