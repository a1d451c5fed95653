"""Regularisation of weights: all parameters are trained and pulled back towards the start."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench import Choice, LogRange, Range

from .tuning import FineTuning, nothing_old, tuned

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from bench import Session


class L2SP(FineTuning):
    """Fine-tuning with a quadratic penalty on the distance to the start model's weights."""

    reference: ClassVar = (
        "Li et al. 2018, Explicit inductive bias for transfer learning, 1802.01483, §3"
    )
    one_gpu: ClassVar = "its penalty compares all weights with earlier ones"
    verified: ClassVar = "golden, gradients; λ = 0 is sft; λ → ∞ stays"

    alpha: Annotated[
        float, LogRange(1e-4, 10), Field(ge=0, description="strength of the penalty α/2 ‖w−w⁰‖²")
    ] = 0.01

    def train(self, session: Session) -> PreTrainedModel:
        from . import penalties

        model = session.model()
        penalty = partial(
            penalties.l2_sp, list(model.parameters()), penalties.copies(model), self.alpha
        )
        return tuned(session, model, session.optimizer(model, self.lr), penalty)


class EWC(FineTuning):
    """Fine-tuning with a penalty on each weight's distance to the start, weighted by its Fisher
    information on old tasks.
    """

    reference: ClassVar = (
        "Kirkpatrick et al. 2017, Overcoming catastrophic forgetting, 1612.00796, eq. 3"
    )
    one_gpu: ClassVar = "its penalty compares all weights with earlier ones"
    verified: ClassVar = (
        "golden, gradients; closed-form Fisher of logistic regression; 1 batch or 4 parts; λ = 0"
        " is sft"
    )

    ewc_lambda: Annotated[
        float, LogRange(1, 1e5), Field(ge=0, description="strength of the penalty λ/2 Σ F (θ−θ*)²")
    ] = 1000.0
    fisher_examples: Annotated[
        int,
        Choice((64, 128, 256, 512)),
        Field(gt=0, description="rows of old tasks that the Fisher information is measured on"),
    ] = 128

    def skip(self, session: Session) -> str | None:
        return nothing_old(session, self.formats[0])

    def train(self, session: Session) -> PreTrainedModel:
        from . import penalties

        fisher = self._fisher(session)
        model = session.model()
        start = penalties.copies(model)
        penalty = partial(penalties.ewc, list(model.parameters()), start, fisher, self.ewc_lambda)
        return tuned(session, model, session.optimizer(model, self.lr), penalty)

    def _fisher(self, session: Session) -> list[Tensor]:
        from .fisher import fisher_on_old_tasks

        return fisher_on_old_tasks(session, self.formats[0], self.fisher_examples)


class OnlineEWC(EWC):
    """EWC with one running Fisher information for all old tasks, in which older ones fade, instead
    of measuring all of them anew.
    """

    reference: ClassVar = "Schwarz et al. 2018, Progress & compress, 1805.06370, §3, eq. 8 and 9"
    verified: ClassVar = "recursion by hand over two targets; without earlier targets it is ewc"

    gamma: Annotated[
        float,
        Range(0.5, 1.0),
        Field(ge=0, le=1, description="what is left of the older Fisher information per target"),
    ] = 0.95

    def _fisher(self, session: Session) -> list[Tensor]:
        """Of the retained tasks at the first target, and then of each target as it has ended."""
        from .carried import recall, remember
        from .fisher import fisher_on_old_tasks

        before = recall(session, "fisher")
        of = session.old[-1:] if before else None
        fisher = fisher_on_old_tasks(session, self.formats[0], self.fisher_examples, of)
        if before:
            fisher = [self.gamma * b + f for b, f in zip(before, fisher, strict=True)]
        remember(session, "fisher", fisher)
        return fisher


class MAS(FineTuning):
    """Fine-tuning with a penalty on each weight's distance to the start, weighted by how much the
    outputs on old tasks depend on it.
    """

    reference: ClassVar = "Aljundi et al. 2018, Memory aware synapses, 1711.09601, eq. 2 to 4"
    one_gpu: ClassVar = "its penalty compares all weights with earlier ones"
    verified: ClassVar = "closed form of a linear layer; λ = 0 is sft"

    mas_lambda: Annotated[
        float, LogRange(1e-4, 10), Field(ge=0, description="strength of the penalty λ Σ Ω (θ−θ*)²")
    ] = 0.1
    examples: Annotated[
        int,
        Choice((64, 128, 256, 512)),
        Field(gt=0, description="rows of old tasks that the importance is measured on"),
    ] = 128

    def skip(self, session: Session) -> str | None:
        return nothing_old(session, self.formats[0])

    def train(self, session: Session) -> PreTrainedModel:
        from . import penalties
        from .fisher import sensitivity_on_old_tasks

        omega = sensitivity_on_old_tasks(session, self.formats[0], self.examples)
        model = session.model()
        start = penalties.copies(model)
        penalty = partial(
            penalties.ewc, list(model.parameters()), start, omega, 2 * self.mas_lambda
        )
        return tuned(session, model, session.optimizer(model, self.lr), penalty)


class SI(FineTuning):
    """Fine-tuning with a penalty on each weight's distance to the start, weighted by how much its
    moves on earlier targets lowered their loss; without an earlier target it is sft.
    """

    reference: ClassVar = (
        "Zenke et al. 2017, Continual learning through synaptic intelligence, 1703.04200, eq. 3-5"
    )
    one_gpu: ClassVar = "its penalty compares all weights with earlier ones"
    verified: ClassVar = "golden; what is carried is the path; without an earlier target it is sft"

    c: Annotated[
        float, LogRange(0.01, 1e4), Field(ge=0, description="strength of the penalty c Σ Ω (θ−θ*)²")
    ] = 1.0
    xi: Annotated[
        float, LogRange(1e-4, 0.1), Field(gt=0, description="damping ξ of weights that hardly move")
    ] = 1e-3

    def train(self, session: Session) -> PreTrainedModel:
        """The penalty's gradient is added right before the step, apart from the loss, so that the
        path is that of the target's own loss.
        """
        import torch

        from . import penalties
        from .carried import recall, remember

        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        parameters = list(model.parameters())
        start = penalties.copies(model)
        omega = recall(session, "importance")
        paths = [torch.zeros_like(w) for w in start]
        at: list[tuple[Tensor, Tensor]] = []

        @torch.no_grad()
        def before(*_: Any) -> None:
            at[:] = [(p.grad.clone(), p.clone()) for p in parameters if p.grad is not None]
            for p, w, o in zip(parameters, start, omega, strict=bool(omega)):
                if p.grad is not None:
                    p.grad.add_(2 * self.c * o * (p - w))

        @torch.no_grad()
        def after(*_: Any) -> None:
            moving = [
                (p, path) for p, path in zip(parameters, paths, strict=True) if p.grad is not None
            ]
            for (p, path), (gradient, here) in zip(moving, at, strict=True):
                path.sub_(gradient * (p - here))

        optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(after)
        tuned(session, model, optimizer)
        found = [
            penalties.importance(path, p.detach() - w, self.xi)
            for path, p, w in zip(paths, parameters, start, strict=True)
        ]
        known = omega or [torch.zeros_like(f) for f in found]
        remember(session, "importance", [o + f for o, f in zip(known, found, strict=True)])
        return model


class RecAdam(FineTuning):
    """Fine-tuning whose optimizer first recalls the start model's weights and gradually turns to
    the target.
    """

    reference: ClassVar = "Chen et al. 2020, Recall and learn, 2004.12651, Algorithm 1"
    one_gpu: ClassVar = "it pulls all weights towards earlier ones"
    verified: ClassVar = "golden; the step is Adam's plus plain descent; λ(t) = 1 is sft"

    gamma: Annotated[
        float,
        LogRange(10, 10000),
        Field(ge=0, description="strength of the pull: lr·gamma of the way back in each step"),
    ] = 5000.0
    k: Annotated[
        float,
        LogRange(5, 100),
        Field(gt=0, description="how fast the target takes over, per whole budget"),
    ] = 20.0
    t0: Annotated[
        float,
        Range(0.05, 0.8),
        Field(description="share of the budget after which the target has half of the weight"),
    ] = 0.3

    def train(self, session: Session) -> PreTrainedModel:
        """The authors' k and t0 count in steps, these in budgets: over T steps, k and t0 here are
        theirs times T and divided by T.
        """
        from . import penalties

        model = session.model()
        start = penalties.copies(model)
        optimizer = session.optimizer(model, self.lr)

        def recall(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            penalties.recall(
                optimizer, start, self.gamma, penalties.annealed(session.progress, self.k, self.t0)
            )

        optimizer.register_step_pre_hook(recall)
        return tuned(session, model, optimizer)


class Mixout(FineTuning):
    """Fine-tuning in which each step resets a random share of the linear layers' weights to the
    start.
    """

    reference: ClassVar = "Lee et al. 2020, Mixout, 1909.11299"
    one_gpu: ClassVar = "it mixes all weights with earlier ones"
    verified: ClassVar = "golden; mean over draws; p = 0 is sft"

    p: Annotated[
        float,
        Range(0.1, 0.9),
        Field(ge=0, lt=1, description="chance of each weight to be the start's in a step"),
    ] = 0.7

    def train(self, session: Session) -> PreTrainedModel:
        from .mixing import mixing

        model = session.model()
        optimizer = session.optimizer(model, self.lr)
        with mixing(model, self.p) as draw_again:
            optimizer.register_step_post_hook(lambda *_: draw_again())
            return tuned(session, model, optimizer)
