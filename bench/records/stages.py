"""What the two stages of a run leave in its record: training, and evaluation in a fresh process."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer


class Part(BaseModel):
    """A part of a record: read-only, and without fields that the schema does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


def maybe(description: str) -> Any:
    """A field that is null where nobody measured it, or where it does not apply."""
    return Field(default=None, description=description)


class Grown(Part):
    """A part that got fields later: records from before are written as they were read."""

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _as_read(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in write(self).items() if k not in self.later or v not in (None, [])}


class Memory(Grown):
    """Memory of a stage, in bytes."""

    later = frozenset({"weights_bytes", "gradients_bytes", "optimizer_bytes", "activations_bytes"})

    baseline_bytes: int | None = maybe("in use before the stage began")
    peak_bytes: int | None = maybe("the highest use during the stage")
    reserved_bytes: int | None = maybe("peak reserved by torch, on a GPU")
    kind: str = Field(description="what is counted, such as the resident set of the process")
    weights_bytes: int | None = maybe("of all models of the training, references too")
    gradients_bytes: int | None = maybe("of all trained weights")
    optimizer_bytes: int | None = maybe("state of the optimizer")
    activations_bytes: int | None = maybe("the rest of the peak: what passes leave; on a GPU only")


class Parameters(Part):
    trainable: int | None = maybe("most weights that any part trained")
    total: int | None = maybe("all weights of the model")


class Environment(Grown):
    """Where a stage ran, as far as its numbers may depend on it."""

    later = frozenset(
        {"attention", "compiled", "tf32", "matmul_precision", "deterministic", "ranks"}
    )

    python: str | None = maybe("version of Python")
    libraries: dict[str, str | None] = Field(default={}, description="version of each library")
    commits: dict[str, str] = Field(
        default={}, description="commit of each library that was installed from source"
    )
    device: str | None = maybe("name of the processor or GPU")
    device_kind: str | None = maybe("cpu or cuda")
    dtype: str | None = maybe("precision of arithmetic, such as bfloat16")
    threads: int | None = maybe("CPU threads of the process")
    ranks: int | None = maybe("processes that computed it together, one on each device")
    attention: str | None = maybe("how attention was computed, where the suite says it")
    compiled: bool | None = maybe("whether the suite compiles layers in training")
    tf32: bool | None = maybe("whether float32 products may be TF32; on a GPU only")
    matmul_precision: str | None = maybe("torch's float32 matmul precision; on a GPU only")
    deterministic: bool | None = maybe("whether only deterministic kernels ran; on a GPU only")


class Device(Part):
    """What NVML says of the whole GPU during training, other processes included."""

    uuid: str | None = maybe("of the GPU")
    used_bytes: int | None = maybe("in use at the end of training")
    energy_joules: float | None = maybe("of training, loading included")
    other_processes: int | None = maybe("that computed on it too at the end of training")


class Charge(Part):
    """What was spent for one purpose."""

    tokens: float | None = maybe("tokens passed, padding apart")
    flops: float | None = maybe("floating-point operations")
    samples: float | None = maybe("texts read, whatever for")


class Spent(Part):
    """What was spent in all, in every currency."""

    tokens: float | None = maybe("tokens passed, padding apart")
    flops: float | None = maybe("floating-point operations")
    seconds: float | None = maybe("wall-clock seconds of training")
    samples: float | None = maybe("texts read, whatever for")
    steps: float | None = maybe("optimizer steps")


class Ledger(Part):
    spent: Spent
    by_purpose: dict[str, Charge] = Field(
        default={}, description="train, reference, rollout and so on; they add up to `spent`"
    )


class Loss(Part):
    """Training loss, in the unit of the method's own loss."""

    first: float | None = maybe("mean of the first five steps")
    last: float | None = maybe("mean of the last five steps")


class PhaseCourse(Part):
    """Steps of one optimizer, evenly spaced: at most 100 of all phases together, the first and the
    last of each.
    """

    stage: str = Field(description="the stage; empty where there is only one")
    step: list[int] = Field(description="number of the step in the run, from 1")
    lr: list[float] = Field(description="learning rate of the first group of parameters")
    loss: list[float | None] = Field(description="the method's own loss; null where it told none")


class Look(Part):
    """One measurement of what a method optimizes."""

    values: dict[str, float] = Field(default={}, description="by name, such as nll in nats/token")
    reason: str | None = maybe("why there are no values")


class ObjectiveLook(Part):
    """What one stage of a recipe optimizes, before and after its training."""

    stage: str = Field(description="the stage; empty where there is only one")
    method: str
    goal: str = Field(description="the name of the value that the method optimizes")
    better: Literal["lower", "higher"]
    before: Look
    after: Look


class Seconds(Grown):
    """Wall-clock seconds of a stage."""

    later = frozenset({"other"})


class TrainSeconds(Seconds):
    """Wall-clock seconds of each part of the training stage."""

    load: float | None = maybe("loading models")
    measure: float | None = maybe("measuring objectives and logits")
    train: float | None = maybe("training alone")
    save: float | None = maybe("saving the artifact")
    other: float | None = maybe("the rest: reading data, checking")


class TrainStage(Grown):
    """A training that ended well."""

    later = frozenset({"mfu", "gpu", "warnings", "journal"})

    seconds: TrainSeconds
    memory: Memory | None = None
    tokens_per_second: float | None = maybe(
        "of the steps after warm-up; null where there were too few"
    )
    mfu: float | None = maybe(
        "FLOPs of the ledger as a share of what the GPU could have done in the seconds of training,"
        " at its peak for dense bfloat16; null in float32 and on GPUs whose peak is not known"
    )
    gpu: Device | None = maybe("null on a CPU")
    warnings: list[str] = Field(default=[], description="what to know of its speed and memory")
    parameters: Parameters
    artifact_bytes: int | None = maybe("size of all files it saved")
    ledger: Ledger
    loss: Loss
    journal: list[PhaseCourse] = Field(
        default=[], description="learning rate and loss by phase; a phase is one optimizer's"
    )
    objective: list[ObjectiveLook] = []
    environment: Environment


class EvaluationSeconds(Seconds):
    """Wall-clock seconds of each part of the evaluation stage."""

    load: float | None = maybe("loading the model")
    evaluate: float | None = maybe("scoring all tasks")
    drift: float | None = maybe("measuring drift")
    earlier: float | None = maybe("scoring what earlier targets of a sequence left")
    other: float | None = maybe("the rest: reading data, checking")


class HubData(Part):
    """A data set on the Hub, and the split of it that was asked."""

    path: str
    name: str | None = maybe("its configuration")
    split: str


class Score(Grown):
    """The score of one task: the mean over its items."""

    later = frozenset({"source"})

    value: float = Field(description="in the unit of the metric; a share 0..1 for accuracies")
    metric: str = Field(description="lm-eval's name of the metric")
    higher_is_better: bool
    items: int | None = maybe("how many items it is the mean of")
    source: HubData | None = maybe("where its items are from, if from the Hub")

    @property
    def is_share(self) -> bool:
        """Whether it is a share of right answers, more being better; tests need that."""
        return self.higher_is_better and 0 <= self.value <= 1


class Drift(Grown):
    """Change of the predictions, in nats per token: on plain text, and on answers of the target."""

    later = frozenset({"target_kl", "target_tokens"})

    nll: float | None = maybe("negative log-likelihood after training")
    base_nll: float | None = maybe("the same of the start model")
    kl: float | None = maybe("KL divergence from the start model")
    tokens: int | None = maybe("tokens of the text")
    target_kl: float | None = maybe("KL(start model ‖ tuned) on completions of the target")
    target_tokens: int | None = maybe("tokens of these completions")
    change: float | None = maybe("rise of the loss, where nll and base_nll were not published")

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


class Decode(Grown):
    """What the model generated during evaluation."""

    later = frozenset({"answers", "engine"})

    tokens: int
    seconds: float = Field(description="wall-clock seconds of generation")
    answers: int | None = maybe("how many texts these tokens are of")
    engine: str | None = maybe("what generated, with its version; null: transformers")

    @property
    def tokens_per_second(self) -> float | None:
        return self.tokens / self.seconds if self.tokens and self.seconds else None

    @property
    def tokens_per_answer(self) -> float | None:
        return self.tokens / self.answers if self.answers else None


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
    generation_config: dict[str, Any] | None = maybe(
        "how answers were generated, as transformers resolved it"
    )
    parameters: Parameters
    environment: Environment
