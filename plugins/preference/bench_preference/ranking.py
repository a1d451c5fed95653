"""Learning from several completions of one prompt, each with a score."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bench import Format, Skipped

from .pairs import LikelihoodRate, Preference

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession

    from .candidates import Rows, Scored
    from .likelihood import Likelihoods


class RRHF(Preference):
    """Ranks candidates by mean log-probability as their scores rank them, and fine-tunes on the
    best one. The candidates are those of the data, or samples of the start model.
    """

    formats: ClassVar = (Format.RANKING,)
    goal: ClassVar = ("reward_accuracy", "higher")  # once the order is right, its gradient is zero
    reference: ClassVar = (
        "Yuan et al. 2023, RRHF: rank responses to align language models with human feedback,"
        " 2304.05302, §3.1"
    )
    verified: ClassVar = (
        "golden, gradients, permutations; two candidates are SLiC with δ = 0; 1 batch or 4 parts;"
        " samples keep to their share, and none is scored twice"
    )

    lr: LikelihoodRate = 2e-5  # Yuan et al. 2023, for 7B

    # What came later enters the id of a run only where it is set.
    candidates: Annotated[
        Literal["data", "sampled"],
        Field(
            description=(
                "where they come from: data is ranking data with scores, sampled are samples of"
                " the start, scored by the task's reward"
            ),
            exclude_if=lambda value: value == "data",
        ),
    ] = "data"
    sampling_share: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="share of the budget for samples and their scores, where they are sampled",
            exclude_if=lambda value: value == 0.3,
        ),
    ] = 0.3
    num_candidates: Annotated[
        int,
        Field(ge=2, description="samples of each prompt", exclude_if=lambda value: value == 4),
    ] = 4
    temperature: Annotated[
        float,
        Field(
            gt=0, description="temperature of the samples", exclude_if=lambda value: value == 0.7
        ),
    ] = 0.7
    max_new_tokens: Annotated[
        int, Field(gt=0, description="longest sample", exclude_if=lambda value: value == 32)
    ] = 32
    max_prompts: Annotated[
        int,
        Field(
            gt=0,
            description="most prompts to sample for, where the budget would allow more",
            exclude_if=lambda value: value == 1024,
        ),
    ] = 1024

    def needs(self) -> tuple[Format, ...]:
        return (Format.PROMPT_ONLY,) if self.candidates == "sampled" else self.formats

    def train(self, session: Session) -> PreTrainedModel:
        if self.candidates == "data":
            return self.learned(session, session.rows(Format.RANKING))
        from .candidates import endless

        found = self.sampled(session)
        if not found:
            raise Skipped(
                "no two samples of a prompt earn different rewards, so there is nothing to rank;"
                " sample more candidates, or at a higher temperature"
            )
        with session.stage("policy", until=1.0) as stage:
            batches = endless(found, stage.batch_size)
            rows = stage.rows(Format.PROMPT_ONLY)  # they end with the budget, and are not looked at
            return self.learned(stage, (_columns(next(batches)) for _ in rows))

    def learned(self, session: Session, batches: Iterator[Rows]) -> PreTrainedModel:
        model = self.policy(session)
        optimizer = session.optimizer(model, self.lr)
        for rows in batches:
            session.learn(optimizer, rows, partial(self.losses, model, session))
        return model

    def sampled(self, session: Session) -> list[Scored]:
        """The start's own samples of those prompts whose samples do not all earn the same."""
        from .candidates import collected
        from .ranker import by_reward

        with session.stage("samples", until=self.sampling_share) as stage:
            prompts = stage.rows(Format.PROMPT_ONLY)
            batches = islice(prompts, -(-self.max_prompts // stage.batch_size))
            drawn = collected(by_reward(stage), stage, batches, self.num_candidates, self.sampling)
            return [one for one in drawn if _decided(one)]

    @property
    def sampling(self) -> dict[str, Any]:
        """Plain sampling, as `GenerationConfig` has it."""
        return {
            "temperature": self.temperature,
            "top_k": 0,
            "max_new_tokens": self.max_new_tokens,
        }

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
        for rows in self.looked_at(session):
            for said, scores in _ranked(model, session, rows):
                better, worse = (scores[:, None] > scores[None, :]).nonzero(as_tuple=True)
                pairs.append((said.mean[better], said.mean[worse]))
        return outcome(pairs)

    def looked_at(self, session: ValidationSession) -> Iterator[Rows]:
        """Ranking rows of the validation split, or of samples of the start for its prompts."""
        from .candidates import scored_samples
        from .ranker import by_reward

        if self.candidates == "data":
            yield from session.rows(Format.RANKING)
            return
        sampler, rank = session.reference(), by_reward(session)
        for rows in session.rows(Format.PROMPT_ONLY):
            drawn = scored_samples(sampler, rank, session, rows, self.num_candidates, self.sampling)
            if found := [one for one in drawn if _decided(one)]:
                yield _columns(found)


def _decided(one: Scored) -> bool:
    """Whether the samples of a prompt do not all earn the same."""
    return len(set(one.scores.values())) > 1


def _columns(drawn: list[Scored]) -> Rows:
    """Samples of prompts as ranking rows."""
    return {
        "prompt": [one.prompt for one in drawn],
        "completions": [list(one.scores) for one in drawn],
        "scores": [list(one.scores.values()) for one in drawn],
    }


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
