"""Distillation: learning from the predictions of a teacher, which may be another model, or the same
one that has seen more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from bench import Adaptable, Choice, Format, LogRange, Method, Range, teacher_obstacle

from .hyperparameters import (
    SDFT_TEMPLATE,
    SDPO_TEMPLATE,
    Beta,
    Longest,
    Rate,
    Temperature,
    Template,
    UpdateRate,
    whole_path,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from bench import Session, ValidationSession


class Distillation(Method):
    """Learns from the predictions of a teacher."""

    formats: ClassVar[tuple[Format, ...]] = (Format.PROMPT_COMPLETION,)
    family: ClassVar = "distillation"
    goal: ClassVar = ("divergence", "lower")

    lr: Rate = 2e-5


class Taught(Distillation, Adaptable):
    """Learns from a teacher that has the same tokens: another model, or else the start after
    supervised fine-tuning.
    """

    teacher: Annotated[
        str | None,
        AfterValidator(whole_path),
        Field(
            description=(
                "hub id or whole path of the teacher, which needs the start's tokens; without one,"
                " the start is fine-tuned to be it"
            )
        ),
    ] = None
    teacher_share: Annotated[
        float,
        Range(0.1, 0.9),
        Field(
            gt=0,
            lt=1,
            description="share of the budget that a teacher is fine-tuned with, without another",
        ),
    ] = 0.5
    teacher_lr: Annotated[
        float,
        LogRange(1e-6, 1e-2),
        Field(gt=0, description="peak learning rate of AdamW for a teacher that is fine-tuned"),
    ] = 2e-5

    def skip(self, session: Session) -> str | None:
        if self.teacher is not None:
            return teacher_obstacle(session, self.teacher)
        if session.start.spec.quantize is not None:
            return "the start is quantized, so it cannot be fine-tuned to teach; name a teacher"
        return None


class KD(Taught):
    """Word-level distillation: on given completions, the likelihood of each token and the teacher's
    whole prediction of it.
    """

    reference: ClassVar = (
        "Kim and Rush 2016, Sequence-level knowledge distillation, 1606.07947, §3.1; Hinton et al."
        " 2015, 1503.02531"
    )
    verified: ClassVar = "golden, gradients; equals torch's cross-entropy with soft labels"
    goal: ClassVar = ("loss", "lower")

    alpha: Annotated[
        float,
        Range(0.1, 1.0),
        Field(gt=0, le=1, description="weight of the teacher against that of the given tokens"),
    ] = 0.5

    def train(self, session: Session) -> PreTrainedModel:
        from .supervised import kd

        return kd(self, session)

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """Negative log-likelihood, forward KL from the teacher, and the mean of both that is
        minimised, in nats per token of the validation rows.
        """
        from .supervised import kd_objective

        return kd_objective(self, session, model)


class SeqKD(Taught):
    """Sequence-level distillation: supervised fine-tuning on what the teacher says to the prompts.
    The given completions are not looked at, but by a teacher that is fine-tuned.
    """

    reference: ClassVar = (
        "Kim and Rush 2016, Sequence-level knowledge distillation, 1606.07947, §3.2"
    )
    verified: ClassVar = "targets are those of transformers' beam search; comes near its teacher"
    goal: ClassVar = ("nll", "lower")

    num_beams: Annotated[
        int,
        Choice((1, 5)),
        Field(gt=0, description="beams of the search for what the teacher says"),
    ] = 5
    max_completion_length: Longest = 256

    def train(self, session: Session) -> PreTrainedModel:
        from .supervised import seq_kd

        return seq_kd(self, session)

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """Negative log-likelihood in nats per token of what the teacher says to the validation
        prompts.
        """
        from .supervised import seq_kd_objective

        return seq_kd_objective(self, session, model)


class GKD(Taught):
    """Generalised knowledge distillation: the teacher's whole predictions, on given completions and
    on the student's own.
    """

    reference: ClassVar = (
        "Agarwal et al. 2023, On-policy distillation of language models, 2306.13649, eq. 1 and"
        " Algorithm 1"
    )
    verified: ClassVar = (
        "golden, scipy, gradients; loss and gradient equal TRL's; 1 batch or 2-row parts;"
        " comes near its teacher"
    )

    beta: Beta = 0.5
    lmbda: Annotated[
        float,
        Range(0.0, 1.0),
        Field(ge=0, le=1, description="share of batches with completions of the student itself"),
    ] = 0.5
    temperature: Temperature = 1.0
    max_completion_length: Longest = 256

    def train(self, session: Session) -> PreTrainedModel:
        from .supervised import gkd

        return gkd(self, session)

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """Divergence from the teacher in nats per token: on the model's own completions of the
        validation prompts with weight lmbda, on the given ones with the rest.
        """
        from .supervised import gkd_objective

        return gkd_objective(self, session, model)


class SDFT(Distillation):
    """Self-distillation fine-tuning: on completions of its own, the model learns what it would
    predict if it had seen a demonstration.
    """

    reference: ClassVar = (
        "Shenfeld et al. 2026, Self-distillation enables continual learning, 2601.19897, eq. 1 and"
        " Algorithm 1"
    )
    verified: ClassVar = (
        "prompts, loss, gradient and moving teacher equal TRL's; learns from itself where its"
        " start can use demonstrations"
    )

    alpha: Beta = 1.0
    teacher_update_rate: UpdateRate = 0.01
    template: Template = SDFT_TEMPLATE
    temperature: Temperature = 1.0
    max_completion_length: Longest = 256

    def train(self, session: Session) -> PreTrainedModel:
        from .self_distillation import sdft

        return sdft(self, session)

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """Divergence in nats per token of the model's own completions of the validation prompts
        from the start that sees the demonstrations.
        """
        from .self_distillation import sdft_objective

        return sdft_objective(self, session, model)


class SDPO(Distillation):
    """Self-distillation policy optimisation: of several attempts, those that fail learn what the
    model would predict if it had seen one that succeeded.
    """

    formats: ClassVar = (Format.PROMPT_ONLY,)
    reference: ClassVar = (
        "Hübotter et al. 2026, Reinforcement learning via self-distillation, 2601.20802, §2.2-2.3"
        " and §3 (without rich feedback)"
    )
    verified: ClassVar = (
        "prompts, choice of demonstrations, top-K loss and gradient equal TRL's; reward rises"
        " where its start can use demonstrations"
    )

    lr: Rate = 1e-5
    num_generations: Annotated[
        int,
        Choice((2, 4, 8, 16)),
        Field(gt=1, description="attempts at one prompt, which teach one another"),
    ] = 8
    success_reward_threshold: Annotated[
        float, Field(description="reward from which on an attempt may be shown to the teacher")
    ] = 1.0
    alpha: Beta = 0.5
    top_k: Annotated[
        int,
        Choice((20, 100)),
        Field(gt=0, description="tokens that are compared one by one; all others count as one"),
    ] = 100
    teacher_update_rate: UpdateRate = 0.05
    template: Template = SDPO_TEMPLATE
    temperature: Temperature = 1.0
    max_completion_length: Longest = 256

    def skip(self, session: Session) -> str | None:
        if session.batch_size % self.num_generations:
            return (
                f"a batch of {session.batch_size} completions is not a whole number of groups of"
                f" num_generations = {self.num_generations}"
            )
        return None

    def train(self, session: Session) -> PreTrainedModel:
        from .self_distillation import sdpo

        return sdpo(self, session)

    def objective(
        self, session: ValidationSession, model: PreTrainedModel | PeftModel
    ) -> dict[str, float]:
        """On samples of the validation prompts: divergence in nats per token from the start that
        sees another sample which succeeded, where one did, and mean reward.
        """
        from .self_distillation import sdpo_objective

        return sdpo_objective(self, session, model)
