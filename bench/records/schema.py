"""The record of one run: every field with its meaning and its unit.

Null always means that nobody measured it, or that whoever published it does not say. A stage that
was not reached, or did not end well, is null; `status` and `reason` say why.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.accounting.budget import Currency

BASE = "base"
"""The recipe of the start model itself, which is evaluated and never trained."""
SCHEMA_VERSION = 2


class Purpose(StrEnum):
    """What a run is for."""

    ROW = "row"  # tested on everything, for the table
    TRIAL = "trial"  # one draw of hyper-parameters, scored on validation data of the targets alone
    CURVE = "curve"  # a row on a share of the budget, tested on the targets alone


class Status(StrEnum):
    """How a run ended."""

    OK = "ok"
    SKIPPED = "skipped"  # the method cannot run here, and says why
    FAILED = "failed"  # an exception
    CRASHED = "crashed"  # the process ended without a result
    OUT_OF_MEMORY = "out of memory"
    TIMED_OUT = "timed out"
    DIVERGED = "diverged"
    OVER_BUDGET = "over budget"


RETRIED = (Status.FAILED, Status.CRASHED, Status.OUT_OF_MEMORY)
"""Statuses that another attempt may mend; the others are verdicts."""
FAILURES = (*RETRIED, Status.DIVERGED, Status.OVER_BUDGET, Status.TIMED_OUT)


class Part(BaseModel):
    """A part of a record: read-only, and without fields that the schema does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Fingerprints(Part):
    """Hashes of what a run starts from and reads."""

    model: str | None = Field(default=None, description="of the start model")
    tasks: dict[str, str | None] = Field(default={}, description="of the data of each task")
    drift: str | None = Field(default=None, description="of the text that drift is measured on")


class MethodFacts(Part):
    """What a report says of a method, so that it needs no plugin."""

    name: str
    family: str = Field(description="the group that the method is listed in")
    reference: str = Field(description="the paper or implementation it follows")
    verified: str = Field(
        description="how it is known to do what its reference says; empty where nobody looked"
    )
    tunable: bool = Field(description="whether it has a hyper-parameter with a search range")


class Budget(Part):
    """What the run was allowed to spend."""

    currency: Currency
    amount: float = Field(description="in the currency: tokens, FLOPs, seconds, samples or steps")


class Batch(Part):
    size: int = Field(description="sequences per optimizer step, and per batch of evaluation")
    max_length: int = Field(description="tokens per sequence at most")
    micro: int | None = Field(
        default=None, description="sequences that pass the model at once; null: all of size"
    )
    checkpointing: bool = Field(
        default=False, description="whether activations are recomputed in the backward pass"
    )


class Memory(Part):
    """Memory of a stage, in bytes."""

    baseline_bytes: int | None = Field(default=None, description="in use before the stage began")
    peak_bytes: int | None = Field(default=None, description="the highest use during the stage")
    reserved_bytes: int | None = Field(default=None, description="peak reserved by torch, on a GPU")
    kind: str = Field(description="what is counted, such as the resident set of the process")


class Parameters(Part):
    trainable: int | None = Field(default=None, description="most weights that any part trained")
    total: int | None = Field(default=None, description="all weights of the model")


class Environment(Part):
    """Where a stage ran, as far as its numbers may depend on it."""

    python: str | None = Field(default=None, description="version of Python")
    libraries: dict[str, str | None] = Field(default={}, description="version of each library")
    commits: dict[str, str] = Field(
        default={}, description="commit of each library that was installed from source"
    )
    device: str | None = Field(default=None, description="name of the processor or GPU")
    device_kind: str | None = Field(default=None, description="cpu or cuda")
    dtype: str | None = Field(default=None, description="precision of arithmetic, such as bfloat16")
    threads: int | None = Field(default=None, description="CPU threads of the process")


class Charge(Part):
    """What was spent for one purpose."""

    tokens: float | None = Field(default=None, description="tokens passed, padding apart")
    flops: float | None = Field(default=None, description="floating-point operations")
    samples: float | None = Field(default=None, description="sequences passed with gradients on")


class Spent(Part):
    """What was spent in all, in every currency."""

    tokens: float | None = Field(default=None, description="tokens passed, padding apart")
    flops: float | None = Field(default=None, description="floating-point operations")
    seconds: float | None = Field(default=None, description="wall-clock seconds of training")
    samples: float | None = Field(default=None, description="sequences passed with gradients on")
    steps: float | None = Field(default=None, description="optimizer steps")


class Ledger(Part):
    spent: Spent
    by_purpose: dict[str, Charge] = Field(
        default={}, description="train, reference, rollout and so on; they add up to `spent`"
    )


class Loss(Part):
    """Training loss, in the unit of the method's own loss."""

    first: float | None = Field(default=None, description="mean of the first five steps")
    last: float | None = Field(default=None, description="mean of the last five steps")


class Look(Part):
    """One measurement of what a method optimizes."""

    values: dict[str, float] = Field(default={}, description="by name, such as nll in nats/token")
    reason: str | None = Field(default=None, description="why there are no values")


class ObjectiveLook(Part):
    """What one stage of a recipe optimizes, before and after its training."""

    stage: str = Field(description="the stage; empty where there is only one")
    method: str
    goal: str = Field(description="the name of the value that the method optimizes")
    better: Literal["lower", "higher"]
    before: Look
    after: Look


class TrainSeconds(Part):
    """Wall-clock seconds of each part of the training stage."""

    load: float | None = Field(default=None, description="loading models")
    measure: float | None = Field(default=None, description="measuring objectives and logits")
    train: float | None = Field(default=None, description="training alone")
    save: float | None = Field(default=None, description="saving the artifact")


class TrainStage(Part):
    """A training that ended well."""

    seconds: TrainSeconds
    memory: Memory | None = None
    tokens_per_second: float | None = Field(
        default=None, description="of the steps after warm-up; null where there were too few"
    )
    parameters: Parameters
    artifact_bytes: int | None = Field(default=None, description="size of all files it saved")
    ledger: Ledger
    loss: Loss
    objective: list[ObjectiveLook] = []
    environment: Environment


class EvaluationSeconds(Part):
    """Wall-clock seconds of each part of the evaluation stage."""

    load: float | None = Field(default=None, description="loading the model")
    evaluate: float | None = Field(default=None, description="scoring all tasks")
    drift: float | None = Field(default=None, description="measuring drift")
    earlier: float | None = Field(
        default=None, description="scoring what earlier targets of a sequence left"
    )


class Score(Part):
    """The score of one task: the mean over its items."""

    value: float = Field(description="in the unit of the metric; a share 0..1 for accuracies")
    metric: str = Field(description="lm-eval's name of the metric")
    higher_is_better: bool
    items: int | None = Field(default=None, description="how many items it is the mean of")

    @property
    def is_share(self) -> bool:
        """Whether it is a share of right answers, more being better: what the tests are made for."""
        return self.higher_is_better and 0 <= self.value <= 1


class Drift(Part):
    """Change of the predictions on plain text, in nats per token."""

    nll: float | None = Field(default=None, description="negative log-likelihood after training")
    base_nll: float | None = Field(default=None, description="the same of the start model")
    kl: float | None = Field(default=None, description="KL divergence from the start model")
    tokens: int | None = Field(default=None, description="tokens of the text")
    change: float | None = Field(
        default=None, description="rise of the loss, where nll and base_nll were not published"
    )

    @property
    def rise(self) -> float | None:
        """By how much the negative log-likelihood rose, in nats per token."""
        if self.nll is None or self.base_nll is None:
            return self.change
        return self.nll - self.base_nll


class Agreement(Part):
    """How far the model that was loaded is from the one that was trained, on a few rows."""

    max_difference: float = Field(
        description="largest difference of a logit, as a share of the largest logit"
    )
    tolerance: float = Field(description="what is allowed in this precision")


class Decode(Part):
    """What the model generated during evaluation."""

    tokens: int
    seconds: float = Field(description="wall-clock seconds of generation")

    @property
    def tokens_per_second(self) -> float | None:
        return self.tokens / self.seconds if self.tokens and self.seconds else None


class EvaluationStage(Part):
    """An evaluation that ended well."""

    seconds: EvaluationSeconds
    memory: Memory | None = None
    scores: dict[str, Score] = Field(description="by task: targets, then retained tasks")
    earlier_scores: list[dict[str, Score]] = Field(
        default=[], description="the same after each earlier target of a sequence"
    )
    drift: Drift | None = None
    agreement: Agreement | None = None
    decode: Decode | None = None
    generation_config: dict[str, Any] | None = Field(
        default=None, description="how answers were generated, as transformers resolved it"
    )
    parameters: Parameters
    environment: Environment


class Git(Part):
    """The repository that the suite file lies in."""

    commit: str
    dirty: bool = Field(description="whether tracked files differed from the commit")


class Imported(Part):
    """Where a record comes from that bench did not measure."""

    source: str = Field(description="lm-eval, or peft-method-comparison")
    file: str = Field(description="name of the file it was read from")
    created_at: str | None = Field(default=None, description="ISO 8601")
    compared: dict[str, Any] = Field(
        default={}, description="all that rows must share to be compared; hashed: comparison_key"
    )
    notes: list[str] = Field(default=[], description="what to know of its numbers")


class Record(Part):
    """The outcome of one run: one recipe with one seed in one suite."""

    schema_version: Literal[2] = SCHEMA_VERSION
    id: str = Field(description="readable part and content hash; it names the file")
    suite: str
    comparison_key: str = Field(description="hash of all that rows must share to be compared")
    fingerprints: Fingerprints = Fingerprints()
    recipe: str = Field(description="the label of the row")
    method: str | None = Field(default=None, description="null for the base and for scores alone")
    methods: list[MethodFacts] = Field(
        default=[], description="every method in the recipe; empty where nobody wrote it down"
    )
    origin: str = Field(default="", description="package and version of each plugin in the recipe")
    parameters: dict[str, Any] = Field(default={}, description="hyper-parameters, all resolved")
    seed: int
    purpose: Purpose = Purpose.ROW
    share: float = Field(default=1.0, description="of the suite's budget, 0..1")
    trial: int | None = Field(
        default=None, description="number of the draw that gave the hyper-parameters"
    )
    drawn: dict[str, Any] | None = Field(
        default=None, description="hyper-parameters that were drawn, by dotted name"
    )
    tuned_from: str | None = Field(
        default=None, description="the recipe whose trials gave the hyper-parameters"
    )
    status: Status
    reason: str | None = Field(default=None, description="why it is not ok")
    log: str | None = Field(default=None, description="the end of the worker's log, on failure")
    target: list[str] = Field(description="the tasks that were learned, in order")
    retain: list[str] = Field(default=[], description="the tasks that should not be forgotten")
    split: str = Field(default="test", description="what the scores are of: test or validation")
    budget: Budget | None = None
    batch: Batch | None = None
    train: TrainStage | None = None
    evaluation: EvaluationStage | None = None
    concurrent_runs: int | None = Field(
        default=None, description="runs that shared the machine; their speed depends on it"
    )
    finished_at: str | None = Field(default=None, description="ISO 8601, UTC")
    git: Git | None = None
    imported: Imported | None = None

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    @property
    def failed(self) -> bool:
        """Whether it should not have ended so; a trial may diverge: that is what trying is for."""
        return self.status in (RETRIED if self.purpose is Purpose.TRIAL else FAILURES)

    @property
    def family(self) -> str:
        """The group of its method; recipe where several methods make one row."""
        return "recipe" if len(self.methods) > 1 else self.methods[0].family if self.methods else ""

    @property
    def tunable(self) -> bool:
        """Whether any method in it has a hyper-parameter to tune."""
        return any(method.tunable for method in self.methods)

    @property
    def verified(self) -> bool:
        """Whether every method in it says how it is known to do what its reference says."""
        return bool(self.methods) and all(method.verified for method in self.methods)

    @property
    def scores(self) -> dict[str, Score]:
        """By task; empty where the run was not evaluated."""
        return self.evaluation.scores if self.evaluation else {}

    @property
    def target_score(self) -> float:
        """Mean score of the targets, signed so that higher is better."""
        found = [self.scores[name] for name in self.target]
        return math.fsum(s.value if s.higher_is_better else -s.value for s in found) / len(found)

    @property
    def environment(self) -> Environment:
        """Where it ran; empty where no stage ended well."""
        stage = self.train or self.evaluation
        return stage.environment if stage else Environment()


def record_schema() -> dict[str, Any]:
    """The JSON Schema of a record file, with the checksum that the store adds."""
    schema = Record.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["checksum"] = {
        "type": "string",
        "description": "SHA-256 of the record without it, as sorted JSON",
    }
    return schema


def complaint(error: ValidationError) -> str:
    """The first thing that does not fit the schema, with its place."""
    wrong = error.errors()[0]
    return f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
