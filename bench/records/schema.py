"""The record of one run: every field with its meaning and its unit.

Null always means that nobody measured it, or that whoever published it does not say. A stage that
was not reached, or did not end well, is null; `status` and `reason` say why.
"""

from __future__ import annotations

from enum import StrEnum
from statistics import fmean
from typing import Any, Literal

from pydantic import Field, ValidationError

from bench.records.stages import Environment, EvaluationStage, Part, Score, TrainStage, maybe

BASE = "base"
"""The recipe of the start model itself, which is evaluated and never trained."""
SCHEMA_VERSION = 2


class Purpose(StrEnum):
    """What a run is for."""

    ROW = "row"  # tested on everything, for the table
    TRIAL = "trial"  # one draw of hyper-parameters, scored on validation data of the targets alone
    CURVE = "curve"  # a row on a share of the budget


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
"""Statuses that another attempt may mend; the others are verdicts, of the time limit that was set
where a run took too long.
"""
FAILURES = (*RETRIED, Status.DIVERGED, Status.OVER_BUDGET, Status.TIMED_OUT)


class Fingerprints(Part):
    """Hashes of what a run starts from and reads."""

    model: str | None = maybe("of the start model")
    tasks: dict[str, str | None] = Field(default={}, description="of the data of each task")
    drift: str | None = maybe("of the text that drift is measured on")


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

    currency: Literal["tokens", "flops", "seconds", "samples", "steps"]
    amount: float = Field(description="in the currency: tokens, FLOPs, seconds, samples or steps")


class Batch(Part):
    size: int = Field(description="sequences per optimizer step")
    max_length: int = Field(description="tokens per sequence at most")
    micro: int | None = maybe(
        "sequences that pass the model at once, as settled where the suite says auto; null: all of"
        " size"
    )
    checkpointing: bool = Field(
        default=False, description="whether activations are recomputed in the backward pass"
    )
    evaluation: int | None = Field(
        default=None,
        exclude_if=lambda value: value is None,  # as group_by_length
        description="prompts answered at once in evaluation where memory allows; null: size",
    )
    group_by_length: bool = Field(
        default=False,
        exclude_if=lambda value: not value,  # records from before are written as they were read
        description="whether rows of similar length shared a batch",
    )
    padding_free: bool = Field(
        default=False,
        exclude_if=lambda value: not value,  # as group_by_length
        description="whether likelihoods passed texts side by side in one row",
    )


class Git(Part):
    """The repository that the suite file lies in."""

    commit: str
    dirty: bool = Field(
        description="whether tracked files, results apart, differed from the commit"
    )

    @property
    def short(self) -> str:
        """The commit as reports name it."""
        return self.commit[:12] + (" with changes" if self.dirty else "")


class Imported(Part):
    """Where a record comes from that bench did not measure."""

    source: str = Field(description="lm-eval, or peft-method-comparison")
    file: str = Field(description="name of the file it was read from")
    created_at: str | None = maybe("ISO 8601")
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
    method: str | None = maybe("null for the base and for scores alone")
    methods: list[MethodFacts] = Field(
        default=[], description="every method in the recipe; empty where nobody wrote it down"
    )
    origin: str = Field(default="", description="package and version of each plugin in the recipe")
    parameters: dict[str, Any] = Field(default={}, description="hyper-parameters, all resolved")
    seed: int
    purpose: Purpose = Purpose.ROW
    share: float = Field(default=1.0, description="of the suite's budget, 0..1")
    trial: int | None = maybe("number of the draw that gave the hyper-parameters")
    drawn: dict[str, Any] | None = maybe("hyper-parameters that were drawn, by dotted name")
    tuned_from: str | None = maybe("the recipe whose trials gave the hyper-parameters")
    status: Status
    reason: str | None = maybe("why it is not ok")
    log: str | None = maybe("the end of the worker's log, on failure")
    target: list[str] = Field(description="the tasks that were learned, in order")
    retain: list[str] = Field(default=[], description="the tasks that should not be forgotten")
    split: str = Field(default="test", description="what the scores are of: test or validation")
    budget: Budget | None = None
    batch: Batch | None = None
    train: TrainStage | None = None
    evaluation: EvaluationStage | None = None
    concurrent_runs: int | None = maybe("runs that shared the machine; their speed depends on it")
    finished_at: str | None = maybe("ISO 8601, UTC")
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
    def target_accuracy(self) -> float:
        """Mean score of the targets, in the unit of their metric."""
        return fmean(self.scores[name].value for name in self.target)

    @property
    def target_score(self) -> float:
        """The same with a sign, so that higher is better."""
        found = [self.scores[name] for name in self.target]
        return fmean(s.value if s.higher_is_better else -s.value for s in found)

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
