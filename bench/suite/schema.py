"""The keys of a suite, what they mean, and their defaults."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from bench.data.chat import ChatSpec
from bench.data.folders import absolute
from bench.data.tasks import Task, TaskSpec, find_task
from bench.methods.entry import Resolved, entry, label, resolve
from bench.methods.optimizer import PLAIN, Optim
from bench.models.gguf import SUFFIX
from bench.models.spec import EMBEDDED, ModelSpec
from bench.suite.amounts import Amount, Bytes
from bench.suite.keys import BatchSpec, BudgetSpec, Strict, TuningSpec


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _as_chat(value: Any) -> Any:
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


def _as_seeds(value: Any) -> Any:
    return list(range(value)) if isinstance(value, int) and value > 0 else value


DROP, KEEP = "drop", "keep"
TRANSFORMERS = "transformers"


def _kept(value: Any) -> Any:
    if value in (DROP, KEEP) or "://" in str(value):
        return value
    raise ValueError(f"give drop, keep, or an address such as s3://bucket/folder, not {value}")


Kept = Annotated[str, BeforeValidator(_kept, json_schema_input_type=str)]
Names = Annotated[
    list[str],
    BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]
Seeds = Annotated[
    list[Annotated[int, Field(ge=0)]],
    BeforeValidator(_as_seeds, json_schema_input_type=int | list[int]),
    Field(min_length=1),
]


class MethodSpec(Strict):
    """One entry under methods: `lora`, or `lora: {r: 64}` with `as: lora-64` beside it; `chain:
    [sft, dpo]` is one too.
    """

    name: str
    parameters: Any = {}
    label: str

    @model_validator(mode="before")
    @classmethod
    def _entry(cls, value: Any) -> Any:
        name, parameters, beside = entry(value)
        if "share" in beside:
            raise ValueError(
                "share: belongs to the parts of a chain or merge; here every entry has the whole"
                " budget"
            )
        shown = beside.get("as", label(name, parameters))
        return {"name": name, "parameters": parameters, "label": shown}

    @cached_property
    def recipe(self) -> Resolved:
        """The entry with its parameters validated; `Mistakes` where they are not valid."""
        return resolve(self.name, self.parameters)


class Suite(Strict):
    """Model, data, budget and methods of one comparison."""

    suite: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name, and folder under results/"
    )
    model: ModelSpec = Field(description="what every recipe starts from")
    target: Names = Field(description="the task to learn; a list is a sequence of targets")
    retain: list[str] = Field(default=[], description="tasks that should not be forgotten")
    measure: list[str] = Field(
        default=[], description="tasks that are scored too, neither learned nor to be kept"
    )
    drift: str | None = Field(
        default=None, description="plain text (a .txt file or a task) on which drift is measured"
    )
    chat: Annotated[
        ChatSpec | None,
        BeforeValidator(_as_chat, json_schema_input_type=bool | ChatSpec | None),
    ] = Field(
        default=None,
        description=(
            "true: the tokenizer's chat template renders all prompts, in training and in"
            " evaluation; a plain prompt is a user's turn"
        ),
    )
    budget: BudgetSpec
    batch: BatchSpec = Field(default_factory=BatchSpec)  # pyright: ignore[reportArgumentType]
    gpus: int = Field(
        default=1,
        gt=0,
        description=(
            "devices that train one run together: its layers are spread over them (FSDP2), and each"
            " passes its share of a batch. Without GPUs, processes"
        ),
    )
    time_limit: Amount | None = Field(
        default=None,
        description=(
            "seconds that one run may take [default: 20 times its forecast, one hour at least]"
        ),
    )
    memory: Bytes | None = Field(
        default=None,
        description=(
            "bytes that a training may hold, such as 24GiB; a method that needs more is a row that"
            " says so"
        ),
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description=(
            "of frozen weights and of arithmetic; auto is bfloat16 on a GPU, float32 on a CPU. What"
            " trains is float32 always"
        ),
    )
    optimizer: Optim = Field(
        default=PLAIN,
        description=(
            "adamw, or adamw_8bit (bitsandbytes), whose state needs a quarter of the memory; for"
            " all rows alike"
        ),
    )
    attention: Literal["sdpa", "flash_attention_2", "eager"] | None = Field(
        default=None,
        description="how attention is computed [default: what transformers chooses for the model]",
    )
    compile: bool = Field(
        default=False,
        description=(
            "compile the layers of models that are trained (torch.compile); for all rows alike"
        ),
    )
    engine: Literal["transformers", "vllm"] = Field(
        default="transformers",
        description=(
            "what generates the answers of evaluation. vllm takes the weights with their adapter"
            " merged; it is a command of its own"
        ),
    )
    seeds: Seeds = Field(default=[0, 1, 2], description="how many, or which")
    split: Literal["test", "validation"] = Field(
        default="test", description="the split that scores are taken on"
    )
    artifacts: Kept = Field(
        default=DROP,
        description=(
            "what becomes of trained weights after evaluation: drop, keep (in the cache), or an"
            " address such as s3://bucket/folder where they are put"
        ),
    )
    tuning: TuningSpec | None = Field(
        default=None, description="a search that gives each recipe a second row, tuned"
    )
    curve: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=[],
        description="shares of the budget that each recipe is trained on too, for a learning curve",
    )
    methods: list[MethodSpec] = Field(min_length=1)
    tasks: dict[str, TaskSpec] = Field(
        default={},
        description=(
            "your own tasks, or the name of a YAML file with them, in which relative paths start at"
            " that file"
        ),
    )

    @model_validator(mode="after")
    def _batch_fits_gpus(self) -> Suite:
        if self.compile and self.gpus > 1:
            raise ValueError("compile works with one GPU: sharded layers were not tried")
        if self.memory is not None and self.gpus > 1:
            raise ValueError("memory: works with one GPU: what each of several holds is not known")
        share, rest = divmod(self.batch.size, self.gpus)
        micro = self.batch.micro
        if rest:
            raise ValueError(f"batch: size {self.batch.size} is no multiple of gpus {self.gpus}")
        if self.gpus > 1 and micro == "auto":
            raise ValueError("batch: micro: auto works with one GPU; give a number")
        if isinstance(micro, int) and share % micro:
            raise ValueError(
                f"batch: micro must divide what one of {self.gpus} GPUs has of a batch: {share} is"
                f" no multiple of {micro}"
            )
        return self

    @model_validator(mode="after")
    def _optimizer_fits(self) -> Suite:
        if self.optimizer != PLAIN and self.gpus > 1:
            raise ValueError(f"optimizer: {self.optimizer} works with one GPU")
        return self

    @model_validator(mode="after")
    def _quantized_fits(self) -> Suite:
        if not self.model.quantize:
            return self
        if self.gpus > 1:
            raise ValueError("quantize works with one GPU: quantized weights cannot be spread")
        if len(self.target) > 1:
            raise ValueError(
                "quantize works with one target: what is learned on the first cannot become part of"
                " quantized weights"
            )
        if self.memory is not None and self.model.quantize == "int8":
            raise ValueError("memory: works without int8: it depends on values what a pass needs")
        return self

    @model_validator(mode="after")
    def _engine_fits(self) -> Suite:
        if self.engine == TRANSFORMERS:
            return self
        if self.gpus > 1:
            raise ValueError(f"engine: {self.engine} works with one GPU: more were not tried")
        if self.model.quantize:
            raise ValueError(
                f"engine: {self.engine} works without quantize: an adapter cannot become part of"
                " quantized weights"
            )
        return self

    folder: SkipJsonSchema[Path] = Field(default=Path(), exclude=True)
    """Where the suite file lies, which no suite says itself; relative paths in it start here."""

    def start(self) -> ModelSpec:
        """The model, with local folders made absolute."""
        local = {
            key: str(absolute(name, self.folder))
            for key in ("path", "tokenizer")
            if (name := getattr(self.model, key)) and self._is_local(name)
        }
        moved = self.model.model_copy(update=local)
        template = self.chat and self.chat.template_text(self.folder)
        return moved.in_suite(template, self.attention)

    def _is_local(self, name: str) -> bool:
        """Whether a model's name is a path; one that names a model stays that, whatever folder is
        called the same.
        """
        local = name.endswith(SUFFIX) or absolute(name, self.folder).is_dir()
        return local and name not in EMBEDDED

    @property
    def scored(self) -> list[str]:
        """Every task that a row is scored on, each once."""
        return list(dict.fromkeys((*self.target, *self.retain, *self.measure)))

    def merges(self, target: int) -> bool:
        """Whether what is trained on a target, by its number, must become part of the weights:
        another target follows, or another engine than transformers loads it.
        """
        return target + 1 < len(self.target) or self.engine != TRANSFORMERS

    def task(self, name: str) -> Task:
        """A task that the suite names, its prompts plain or turns as the suite says."""
        return find_task(name, self.tasks, self.folder, self.chat)
