"""The first stage of a run: train its recipe on every target in turn, and save what came out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.execution.environment import count_parameters, environment, precision
from bench.execution.kept import bytes_in
from bench.execution.worker import Job
from bench.methods.entry import resolve
from bench.models.sharding import whole_weights
from bench.records.schema import Purpose
from bench.suite.obstacles import not_served
from bench.suite.plan import tasks
from bench.system.errors import Skipped
from bench.system.ranks import here

SHARED = "another process computed on the GPU: speed and memory on the device are not its own"


def train(job: Job, report: Callable[[float], None]) -> dict[str, Any]:
    """Train the run's recipe on every target in turn, and save what came out.

    The artifact is saved before anything else is measured, so that nothing that fails afterwards
    loses a training.
    """
    from bench.accounting import gpu, resources
    from bench.accounting.guard import no_free_training

    training = _Training(job, report)
    device = training.device
    with (
        resources.memory(device) as memory,
        gpu.watched(device) as seen,
        resources.stopwatch(device) as watch,
    ):
        training.log.memory = memory
        with no_free_training(training.ledger):
            model = training.over_targets()
    log = training.log
    peak = memory.parts(log.held)  # as it is now: saving does not belong to it
    seconds = watch.seconds - log.load_seconds - log.aside_seconds
    training.check(model)
    counted = count_parameters(model)
    with resources.stopwatch(device) as saving:
        training.save(model, job.artifact)
    training.remember_logits(model)
    log.settle()
    shutil.rmtree(training.scratch)
    return {
        "seconds": {
            "load": log.load_seconds,
            "measure": log.aside_seconds,
            "train": seconds,
            "save": saving.seconds,
        },
        "memory": peak,
        "tokens_per_second": training.speed(),
        "mfu": training.mfu(seconds),
        "gpu": seen and asdict(seen),
        "warnings": [SHARED] if seen and seen.other_processes else [],
        "micro": log.micro,
        "concurrent_runs": job.concurrent_runs,
        "parameters": counted | {"trainable": log.trainable},
        "artifact_bytes": bytes_in(job.artifact),
        "ledger": {
            "spent": training.ledger.totals() | {"seconds": seconds},
            "by_purpose": training.ledger.by_purpose(),
        },
        "loss": {"first": _mean(log.losses[:5]), "last": _mean(log.losses[-5:])},
        "journal": log.journal(),
        "objective": log.objectives,
        "environment": environment(job),
    }


class _Training:
    """One recipe on its way through the targets of a suite."""

    def __init__(self, job: Job, report: Callable[[float], None]) -> None:
        import torch

        from bench.accounting.ledger import Ledger
        from bench.methods.run_log import RunLog

        assert job.run.method is not None
        self.job, self._report = job, report
        self.name = job.run.method
        recipe = resolve(self.name, job.run.parameters)
        self.method = recipe.method
        if reason := not_served(job.suite, recipe):
            raise Skipped(reason)
        self.device = torch.device(job.device)
        self.dtype = precision(job.suite, job.device)
        scored_alone = job.run.purpose is Purpose.TRIAL
        self.ledger, self.log = Ledger(), RunLog(measures_objectives=not scored_alone)
        self.scratch = job.own("scratch")
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.targets = tasks(job.suite, job.suite.target)

    def over_targets(self) -> Any:
        """The model after the last target."""
        from bench.methods.artifact import next_start
        from bench.methods.recipe import apply
        from bench.models.start import Start

        start, earlier, model = Start(self.job.suite.start()), (), None
        for number in range(len(self.targets)):
            self.session = self._session(number, start, earlier)
            model = apply(self.name, self.method, self.session)
            self.session.close()
            if number + 1 < len(self.targets):
                self._keep_stage(number + 1, model)
                self.log.settle()
                earlier = (*earlier, *self._adapter(model))
                start = next_start(self.session, model, "merged-start")
                model = None  # it is saved, and the next one needs its place
        return model

    def _keep_stage(self, number: int, model: Any) -> None:
        """Save what came out of an earlier target, which is evaluated too."""
        if self.job.run.purpose is Purpose.ROW:
            with self.session.unmetered():
                self.save(model, self.job.after_stage(number))

    def _adapter(self, model: Any) -> tuple[Path, ...]:
        from peft import PeftModel

        if not isinstance(model, PeftModel):
            return ()
        folder = self.session.folder / "adapter"
        model.save_pretrained(str(folder))
        return (folder,)

    def _session(self, number: int, start: Any, earlier: tuple[Path, ...]) -> Any:
        from bench.data.order import derive
        from bench.methods.session import Session
        from bench.models.load import load_tokenizer

        suite, run, count = self.job.suite, self.job.run, len(self.targets)
        folder = self.scratch / f"target-{number}"
        folder.mkdir(parents=True)
        held = (*tasks(suite, suite.retain), *self.targets[:number])
        return Session(
            task=self.targets[number],
            tokenizer=load_tokenizer(suite.start()),
            budget=suite.budget.budget().part(0, run.share / count),
            seed=derive(run.seed, f"method/{run.recipe}/{number}"),
            device=self.device,
            dtype=self.dtype,
            folder=folder,
            memory=self.scratch / "memory",
            batch_size=suite.batch.size,
            max_length=suite.batch.max_length,
            micro=suite.batch.micro,
            gpus=suite.gpus,
            checkpointing=suite.batch.checkpointing,
            compiled=suite.compile,
            padding_free=suite.batch.padding_free,
            merges=suite.merges(number),
            optim=suite.optimizer,
            group_by_length=suite.batch.group_by_length,
            ledger=self.ledger,
            start=start,
            stage_name=self.targets[number].name if count > 1 else "",
            old=tuple(task for task in held if task.formats),
            earlier=earlier,
            log=self.log,
            _data_seed=derive(run.seed, f"data/{number}"),
            _tell=lambda fraction: self._report((number + fraction) / count),
        )

    def check(self, model: Any) -> None:
        """Raise `Diverged` where a weight is no finite number, and `Uncharged` where the model has
        learned though nobody paid.
        """
        from bench.methods.recipe import learns
        from bench.methods.schedule import Diverged
        from bench.models.compare import has_changed
        from bench.system.errors import Uncharged

        for name, parameter in model.named_parameters():
            if not bool(here(parameter).isfinite().all()):
                raise Diverged(f"{name} holds numbers that are not finite")
        free = learns(self.method) and not self.ledger.spent("tokens")
        if free and has_changed(model, self.job.suite.start(), self.dtype, self.device):
            raise Uncharged("the model's weights changed, and no pass was charged for it")

    def save(self, model: Any, folder: Path) -> None:
        """Of several ranks the first saves, and all bring their parts."""
        from bench.methods.artifact import save_result

        with whole_weights(model):
            if not self.job.rank:
                save_result(self.session, model, folder, self.job.suite.start())

    def remember_logits(self, model: Any) -> None:
        """Keep what the trained model says, for the process that loads it to compare."""
        from bench.evaluation.agreement import remember

        with self.session.unmetered():
            remember(model, self.session, self.scratch if self.job.rank else self.job.work)

    def speed(self) -> float | None:
        """Trained tokens per second over the steady steps of all stages; None when there were too
        few.
        """
        if not self.log.speeds:
            return None
        tokens, seconds = (sum(values) for values in zip(*self.log.speeds, strict=True))
        return tokens / seconds

    def mfu(self, seconds: float) -> float | None:
        """Model FLOPs utilisation: what the ledger counted, of what the GPUs could have done."""
        import torch

        from bench.accounting.gpu import peak_flops

        if self.device.type != "cuda" or self.dtype != torch.bfloat16 or not seconds:
            return None
        peak = peak_flops(torch.cuda.get_device_name(self.device))
        could = seconds * self.job.suite.gpus
        return self.ledger.spent("flops") / (could * peak) if peak else None


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
