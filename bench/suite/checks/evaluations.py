"""Whether every evaluation of a suite loads, has the split that it is scored on, and knows the
answers of its items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.data import raw
from bench.data.hub import is_connection, no_waiting, one_line, out_of_reach
from bench.data.order import evenly_spaced
from bench.data.raw import BadData, Origin
from bench.data.tasks import Task
from bench.data.templates import undefined
from bench.methods.entry import Place
from bench.suite.checks.report import Mistake, of_rows
from bench.suite.schema import Suite
from bench.system.errors import UserError, nearest


@dataclass(frozen=True)
class Items:
    """What an evaluation asks on one split."""

    task: str
    split: str
    questions: list[str]
    answers: list[str]
    """What the evaluation takes for right, as text; empty where that is not one text."""
    docs: list[dict[str, Any]] = field(repr=False)
    place: Callable[[int], str] = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.split} ({self.task})"

    def has(self, columns: Sequence[str]) -> bool:
        """Whether rows with these columns may be its items as they are."""
        return bool(self.docs) and self.docs[0].keys() == set(columns)


def evaluations(suite: Suite) -> Iterator[Items | Mistake]:
    """The items that a suite will ask, and why some cannot be asked."""
    for name in suite.scored:
        task = suite.task(name)
        tuned = suite.tuning is not None and name in suite.target
        for split in dict.fromkeys((suite.split, *(("validation",) if tuned else ()))):
            yield from _Evaluation(suite, task, split).looked_at()


@dataclass(frozen=True)
class _Evaluation:
    """One evaluation on one split."""

    suite: Suite
    task: Task
    split: str

    def looked_at(self) -> Iterator[Items | Mistake]:
        mistakes = list(self._in_config())
        yield from mistakes
        if mistakes or self.task.evaluation is None:
            return
        from bench.evaluation.lm_eval_tasks import load_tasks

        try:
            with no_waiting(isinstance(self.task.evaluation, str)):
                loaded = load_tasks(self.task, self.split)
        except UserError as error:
            yield Mistake(str(error), self._key)
        except Exception as error:
            yield self._unloadable(error)
        else:
            for name, asked in loaded.items():
                label = self.task.name if len(loaded) == 1 else name
                yield from self._items(label, asked)

    @property
    def _file(self) -> str:
        """What the evaluation is called, for people."""
        spec = self.suite.tasks.get(self.task.name)
        given = spec.evaluate if spec else None
        return given or f"the evaluation of {self.task.name}"

    def _at(self, key: str) -> str:
        """The file, and the line of a key in it where it has one."""
        file = self.suite.folder / self._file
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            for number, line in enumerate(text.splitlines(), 1):
                if line.startswith(f"{key}:"):
                    return f"{self._file}, line {number}"
        return self._file

    def _origin(self) -> Origin | None:
        """Where its items come from, if they are read as everybody reads them."""
        config = self.task.evaluation
        if not isinstance(config, dict) or config.get("custom_dataset"):
            return None
        given = dict(config.get("dataset_kwargs") or {})
        files, folder = given.pop("data_files", None), given.pop("data_dir", None)
        path = config.get("dataset_path")
        if given or not isinstance(path, str):
            return None
        return raw.origin(path, config.get("dataset_name"), None, folder, files, self.suite.folder)

    def _in_config(self) -> Iterator[Mistake]:
        """Splits that are not named, or named and not there."""
        config = self.task.evaluation
        if not isinstance(config, dict):
            return
        if not (config.get("test_split") or config.get("validation_split")):
            what = "it names neither test_split nor validation_split, so there is nothing to score"
            yield Mistake(f"{self._file}: {what}")
        if (origin := self._origin()) is None:
            return
        try:
            has = raw.splits(origin)
        except BadData as error:
            yield from (Mistake(line) for line in error.lines)
            return
        tested = self.split == "test" and config.get("test_split")
        scored = "test_split" if tested else "validation_split"
        for key in (scored, "fewshot_split"):
            named = config.get(key)
            if named and named not in has:
                what = f"{key} names {named}, and its data has {', '.join(has)}"
                yield Mistake(f"{self._at(key)}: {what}{nearest(str(named), has)}")

    def _unloadable(self, error: Exception) -> Mistake:
        name, what = self.task.evaluation, f"{type(error).__name__}: {one_line(error)}"
        if not isinstance(name, str):
            return Mistake(
                self._undefined(error) or f"{self._file}: lm-eval cannot load it: {what}"
            )
        if is_connection(error):
            what = out_of_reach(name, "data of the lm-eval task")
            return Mistake(what, self._key, here=True)
        if isinstance(error, (KeyError, ValueError)) and name in str(error):
            hint = nearest(name, self.suite.tasks)
            return Mistake(f"there is no lm-eval task {name}{hint}", self._key)
        return Mistake(f"the lm-eval task {name} cannot be loaded: {what}", self._key)

    def _undefined(self, error: Exception) -> str | None:
        """That a template names what its items do not have."""
        missing = undefined(error)
        config = self.task.evaluation
        if not missing or not isinstance(config, dict):
            return None
        for key in ("doc_to_text", "doc_to_target", "doc_to_choice"):
            if missing in str(config.get(key)):
                origin = self._origin()
                split = str(config.get("test_split") or config.get("validation_split"))
                has = raw.rows(origin, split).column_names if origin else []
                listed = f"; they have {', '.join(has)}" if has else ""
                what = f"{key} names {missing}, which its items do not have"
                return f"{self._at(key)}: {what}{listed}{nearest(missing, has)}"
        return None

    @property
    def _key(self) -> Place:
        """Where the suite names the evaluation."""
        name = self.task.name
        if name in self.suite.tasks:
            return ("tasks", name, "evaluate")
        key = next(k for k in ("target", "retain", "measure") if name in getattr(self.suite, k))
        return (key, getattr(self.suite, key).index(name))

    def _items(self, label: str, asked: Any) -> Iterator[Items | Mistake]:
        docs = list(asked.eval_docs)
        numbers = evenly_spaced(self.task.items or len(docs), len(docs))
        origin = None if asked.config.process_docs else self._origin()
        named = asked.config.test_split or asked.config.validation_split

        def place(item: int) -> str:
            if origin is None:
                return f"{self._file}, {named} item {numbers[item] + 1}"
            return origin.place(named, numbers[item])

        items = Items(label, self.split, [], [], [docs[number] for number in numbers], place)
        problems: dict[str, list[tuple[int, str]]] = {}
        for item, doc in enumerate(items.docs):
            key, told, text, answer = "doc_to_text", None, "", ""
            try:
                text = str(asked.doc_to_text(doc))
                key = "doc_to_target"
                answer = asked.doc_to_target(doc)
                if asked.config.doc_to_choice:
                    key = "doc_to_choice"
                    offered = list(asked.doc_to_choice(doc))
                    key = "doc_to_target"
                    strict = asked.OUTPUT_TYPE == "multiple_choice"
                    told = _outside(answer, offered) if strict else None
                    if isinstance(answer, int) and 0 <= answer < len(offered):
                        answer = offered[answer]
            except Exception as error:  # a template, or a function of the user's
                told = f"{key} cannot be filled in: {one_line(error)}"
            items.questions.append(text)
            items.answers.append(answer if isinstance(answer, str) else "")
            if told:
                what = f"{told} (asked by {self._at(key)})"
                problems.setdefault(key, []).append((item, what))
        yield from of_rows(problems, place)
        yield items


def _outside(target: Any, choices: list[Any]) -> str | None:
    """That a right answer is none of the choices."""
    for one in target if isinstance(target, list) else [target]:
        if not (0 <= one < len(choices) if isinstance(one, int) else one in choices):
            listed = ", ".join(str(c) for c in choices[:8]) + (", …" if len(choices) > 8 else "")
            return f"the right answer {one!r} is not among the choices {listed}"
    return None
