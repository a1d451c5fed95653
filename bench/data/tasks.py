"""Tasks: training data in one or more formats, and how to evaluate it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.data.chat import ChatSpec, settled
from bench.data.folders import contents
from bench.data.formats import Format
from bench.data.lm_eval_yaml import NoFile, read_lm_eval_yaml
from bench.data.rewards.reward import EXACT, KINDS, Reward, RewardTerms
from bench.data.sources import SourceSpec, Split, loader, relocated
from bench.system.entry_points import Offer, offers
from bench.system.errors import UserError, nearest

if TYPE_CHECKING:
    from datasets import Dataset

GROUP = "bench.tasks"
YAML = (".yaml", ".yml")


class TaskSpec(BaseModel):
    """A task that a suite declares: training data in one or more formats, and its evaluation."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    language_modeling: SourceSpec | None = Field(default=None, alias="language-modeling")
    prompt_completion: SourceSpec | None = Field(default=None, alias="prompt-completion")
    instruction: SourceSpec | None = None
    preference: SourceSpec | None = None
    unpaired_preference: SourceSpec | None = Field(default=None, alias="unpaired-preference")
    prompt_only: SourceSpec | None = Field(default=None, alias="prompt-only")
    ranking: SourceSpec | None = None
    reward: RewardTerms | None = Field(
        default=None,
        exclude_if=lambda value: value is None,  # a key that came later must not change older ids
        description=(
            f"what a completion of a prompt-only row earns: {KINDS}, or a list with weights"
            " [default: exact]"
        ),
    )
    evaluate: str | None = Field(
        default=None,
        description="an lm-eval task: its name, or a YAML file relative to the suite file",
    )
    items: int | None = Field(
        default=None,
        gt=0,
        exclude_if=lambda value: value is None,  # a key that came later must not change older ids
        description="score on so many items, evenly spaced over the split [default: on all]",
    )

    @model_validator(mode="after")
    def _reward_has_prompts(self) -> TaskSpec:
        if self.reward is not None and self.prompt_only is None:
            raise ValueError("reward: belongs to prompt-only data, and the task has none")
        return self

    def reward_of(self, folder: Path) -> Reward:
        """The reward, whose files lie relative to `folder`."""
        return EXACT if self.reward is None else Reward(self.reward, folder)

    def sources(self) -> dict[Format, SourceSpec]:
        found = {f: getattr(self, f.value.replace("-", "_")) for f in Format}
        return {f: source for f, source in found.items() if source is not None}

    def seen_from(self, place: str, folder: Path) -> TaskSpec:
        """The same task for a reader who has to take the relative way `place` to its `folder`."""
        moved = {
            f.value.replace("-", "_"): s.seen_from(place, folder) for f, s in self.sources().items()
        }
        evaluate = self.evaluate
        if evaluate is not None and evaluate.endswith(YAML):
            evaluate = relocated(place, evaluate)
        reward = self.reward and tuple(term.seen_from(place) for term in self.reward)
        return self.model_copy(update={**moved, "evaluate": evaluate, "reward": reward})


@dataclass(frozen=True)
class Task:
    """Training data in one or more formats, and how to evaluate it. Data loads when asked for."""

    name: str
    loaders: Mapping[Format, Callable[[Split], Dataset]] = field(repr=False)
    evaluation: str | dict[str, Any] | None = field(repr=False)
    """An lm-eval task: a built-in name, or the content of its YAML."""
    fingerprint: str
    """Changes when the content changes; it enters the ids of runs."""
    items: int | None = None
    """How many items, or texts for drift, it is scored on; all of them where None."""
    reward: Reward = EXACT
    """What a completion of a prompt-only row earns."""
    chat: ChatSpec | None = None
    """How its prompts are turns of a conversation, or None where they are plain text."""

    @property
    def formats(self) -> frozenset[Format]:
        return frozenset(self.loaders)

    def load(self, format: Format, split: Split) -> Dataset:
        if format not in self.loaders:
            raise UserError(
                f"task {self.name} has no {format} data; it offers"
                f" {', '.join(sorted(self.loaders)) or 'none'}"
            )
        return settled(self.loaders[format](split), self.name, format, self.chat)


class UnknownTask(UserError):
    """A package has no task of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no task {name}{nearest(name, known)}")


def find_task(
    name: str, declared: Mapping[str, TaskSpec], folder: Path, chat: ChatSpec | None = None
) -> Task:
    """A task declared in the suite, one of an installed package (`tiny/add`), or an lm-eval task by
    its name (which can be evaluated only). Paths of declared tasks start at `folder`.
    """
    return replace(_found(name, declared, folder), chat=chat)


def _found(name: str, declared: Mapping[str, TaskSpec], folder: Path) -> Task:
    if name in declared:
        return _declared(name, declared[name], folder)
    prefix, slash, _ = name.partition("/")
    if slash and prefix in offers(GROUP):
        return _offered(name, offers(GROUP)[prefix])
    return Task(name, {}, name, name)


def prefixes() -> list[str]:
    """What the names of tasks from installed packages start with, before the slash."""
    return list(offers(GROUP))


def _offered(name: str, offer: Offer) -> Task:
    """A task of an installed package; a `UserError` where the package is broken."""
    if offer.problem:
        raise UserError(f"{offer.name} of {offer.origin} cannot be used: {offer.problem}")
    try:
        task = offer.loaded(name)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{offer.origin} cannot give the task {name}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(task, Task):
        raise UserError(f"{offer.origin} gave {task!r} for the task {name}, which is no bench.Task")
    return task


def _declared(name: str, spec: TaskSpec, folder: Path) -> Task:
    reward = spec.reward_of(folder)
    digest = hashlib.sha256(spec.model_dump_json().encode())
    for source in spec.sources().values():
        origin = source.origin(folder)
        for file in origin.all_files():
            if not file.is_file():
                raise NoFile(f"task {name}: there is no data file {file}")
            digest.update(file.read_bytes())
        if origin.below is not None:
            if not origin.below.is_dir():
                raise NoFile(f"task {name}: there is no data folder {origin.below}")
            for content in contents(origin.below):
                digest.update(content)
    for content in reward.content():
        digest.update(content)
    evaluation: str | dict[str, Any] | None = spec.evaluate
    if spec.evaluate is not None and spec.evaluate.endswith(YAML):
        evaluation, content = read_lm_eval_yaml(folder / spec.evaluate)
        digest.update(content)
    loaders = {
        f: loader(name, f, source, folder, reward if f == Format.PROMPT_ONLY else None)
        for f, source in spec.sources().items()
    }
    return Task(name, loaders, evaluation, digest.hexdigest()[:16], spec.items, reward)
