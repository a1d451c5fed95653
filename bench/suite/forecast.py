"""How long runs will take: from runs that have finished, from those under way, and before that from
what a probe expects. Arithmetic alone: nothing here measures anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from statistics import fmean, median

from bench.records.schema import Purpose, Record
from bench.suite.plan import Run
from bench.suite.schema import Suite

LEAST_LIMIT, TIMES_FORECAST = 3600.0, 20.0
NEEDED = ("train", "evaluate")  # without these nothing is said; the rest is little
ENOUGH = 0.02  # of a stage: from here on its own pace says how long it takes


@dataclass(frozen=True)
class Seconds:
    """Wall-clock seconds of one run, by stage."""

    train: float = 0.0
    objective: float = 0.0
    """Measured before and after training."""
    evaluate: float = 0.0
    drift: float = 0.0
    around: float = 0.0
    """Loading, saving, and whatever belongs to no stage."""

    @property
    def total(self) -> float:
        return sum(self.each())

    def each(self) -> list[float]:
        return [getattr(self, name) for name in STAGES]

    def times(self, factor: float) -> Seconds:
        return Seconds(*(factor * seconds for seconds in self.each()))


STAGES = tuple(field.name for field in fields(Seconds))


def measured(record: Record) -> Seconds | None:
    """What a run took; None where it did not end well."""
    if not record.ok or record.evaluation is None or record.imported is not None:
        return None
    train, scored = record.train, record.evaluation.seconds
    before = (train.seconds.load, train.seconds.save, train.seconds.other) if train else ()
    return Seconds(
        train=(train.seconds.train or 0.0) if train else 0.0,
        objective=(train.seconds.measure or 0.0) if train else 0.0,
        evaluate=(scored.evaluate or 0.0) + (scored.earlier or 0.0),
        drift=scored.drift or 0.0,
        around=sum(part or 0.0 for part in (*before, scored.load, scored.other)),
    )


@dataclass(frozen=True)
class Expected:
    """What a run on the whole budget is expected to take, before any has finished."""

    row: Seconds
    certain: bool
    """Whether these are seconds. If not, only how runs compare with one another counts."""

    def of(self, run: Run | Record, share: float, suite: Suite) -> Seconds:
        """Less for a run on a share of the budget, for a trial, which is scored on the targets
        alone, and for the base.
        """
        whole, trains = run.purpose is not Purpose.TRIAL, run.method is not None
        tasks = len(suite.scored)
        looks = len(suite.target) if run.purpose is Purpose.ROW and trains else 1
        scored = 1.0 if whole else len(set(suite.target)) / tasks
        return Seconds(
            train=self.row.train * share * trains,
            objective=self.row.objective * trains,
            evaluate=self.row.evaluate * scored * looks,
            drift=self.row.drift * (whole and suite.drift is not None),
            around=self.row.around * (1.0 if trains else 0.5),
        )


ALIKE = Expected(Seconds(1.0, 1.0, 1.0, 1.0, 1.0), certain=False)
"""Every run is like every other, as long as nothing is known."""


@dataclass
class _UnderWay:
    """What a run said of the stage that it is in; times on one clock, in seconds."""

    stage: str
    since: float
    began: float
    """The fraction that was done then."""
    fraction: float
    now: float

    @property
    def whole(self) -> float | None:
        """Seconds that the stage takes at its own pace; None where it has hardly begun."""
        done = self.fraction - self.began
        return (self.now - self.since) / done if done >= ENOUGH else None


Kind = tuple[str, str | None, float, Purpose]
"""Label, method, share of the budget and purpose: runs that should take equally long."""


class Forecast:
    """Seconds of the runs of a suite that are still to come.

    A run of which others have finished takes what they took. Any other takes what is expected,
    times what others took of what was expected of them, stage by stage: others of its recipe, or
    all. Until a stage has been seen whole, the pace of runs under way stands for it.
    """

    def __init__(self, suite: Suite, expected: Expected = ALIKE) -> None:
        self._suite, self._expected = suite, expected
        self._budget = suite.budget.budget()
        self._done: dict[Kind, list[tuple[Seconds, Seconds]]] = {}
        """What finished runs took, and what was expected of them."""
        self._open: dict[str, Run] = {}
        self._under_way: dict[str, _UnderWay] = {}
        self.to_come = 0
        """Runs that have no name yet: rows of the table, on the whole budget."""

    def plan(self, runs: Iterable[Run], to_come: int) -> None:
        """These runs are to be done, and so many rows that have no name yet."""
        self._open.update((run.id, run) for run in runs)
        self.to_come = to_come

    def running(self, run: Run, stage: str, fraction: float, now: float) -> None:
        """A run has done this fraction of a stage; `now` is a clock in seconds."""
        seen = self._under_way.get(run.id)
        if seen is None or seen.stage != stage:
            self._under_way[run.id] = _UnderWay(stage, now, fraction, fraction, now)
        else:
            seen.fraction, seen.now = fraction, now

    def finished(self, record: Record) -> None:
        """A run has ended, well or not."""
        self._open.pop(record.id, None)
        self._under_way.pop(record.id, None)
        if (took := measured(record)) is not None:
            expected = self._expected.of(record, self._share(record), self._suite)
            self._done.setdefault(self._kind(record), []).append((took, expected))

    def knows(self, run: Run) -> bool:
        """Whether a run of the same kind has finished."""
        return self._kind(run) in self._done

    def of(self, run: Run) -> Seconds | None:
        """What a run takes in all; None where nothing can be said yet."""
        return self._of(run, {})

    def limit(self, run: Run) -> float | None:
        """Seconds that no such run takes; None until runs have finished that tell."""
        forecast = self.of(run)
        return None if forecast is None else max(LEAST_LIMIT, TIMES_FORECAST * forecast.total)

    def seconds_left(self, slots: int, now: float) -> float | None:
        """From now until all planned runs are done, so many at once; None where nothing can be said
        yet.
        """
        paces, each, number = self._paces(), dict[Kind, Run](), Counter[Kind]()
        for run in list(self._open.values()):
            each[kind := self._kind(run)] = run
            number[kind] += 1
        found = {kind: self._of(run, paces) for kind, run in each.items()}
        whole = {kind: forecast.total for kind, forecast in found.items() if forecast}
        if len(whole) < len(found):
            return None
        begun = list(filter(None, map(self._open.get, list(self._under_way))))
        left = [self._left(r, f, now) for r in begun if (f := found.get(self._kind(r)))]
        waiting = number - Counter(map(self._kind, begun))
        tried = [run for run in each.values() if run.purpose is Purpose.TRIAL]
        tried = [replace(run, purpose=Purpose.ROW, share=1.0) for run in tried]
        rows = [row.total for run in tried if (row := self._of(run, paces))]
        rows = rows or [whole[k] for k in number.elements() if k[1] and k[3] is Purpose.ROW]
        rows = rows or [s.total for k, d in self._done.items() if k[1] for s, _ in d]
        later = self.to_come * fmean(rows) if rows else 0.0
        later += sum(many * whole[kind] for kind, many in waiting.items())
        return max([(sum(left) + later) / slots, *left, *map(whole.__getitem__, waiting)])

    def _of(self, run: Run, paces: dict[str, float]) -> Seconds | None:
        if done := self._done.get(self._kind(run)):
            return Seconds(*map(fmean, zip(*(took.each() for took, _ in done), strict=True)))
        expected = self._expected.of(run, self._share(run), self._suite)
        factors = {name: self._factor(run, name, paces) for name in STAGES}
        if any(getattr(expected, name) and factors[name] is None for name in NEEDED):
            return None
        return Seconds(*(getattr(expected, name) * (factors[name] or 0.0) for name in STAGES))

    def _factor(self, run: Run, stage: str, paces: dict[str, float]) -> float | None:
        """What a stage takes, over what is expected of it."""
        by_recipe = {}
        for (recipe, *_), done in list(self._done.items()):
            pairs = [(getattr(t, stage), getattr(e, stage)) for t, e in done]
            by_recipe.setdefault(recipe, []).extend(t / e for t, e in pairs if e)
        means = {recipe: fmean(factors) for recipe, factors in by_recipe.items() if factors}
        if means:
            return means.get(_recipe(run), median(means.values()))
        return paces.get(stage, 1.0 if self._expected.certain else None)

    def _paces(self) -> dict[str, float]:
        """By stage, as `_factor`: from runs under way. A pace of evaluation holds drift too."""
        found: dict[str, list[float]] = {}
        for name, seen in list(self._under_way.items()):
            run = self._open.get(name)
            if run is None or seen.whole is None:
                continue
            expected = getattr(self._expected.of(run, self._share(run), self._suite), seen.stage)
            found.setdefault(seen.stage, []).append(seen.whole / (expected or 1.0))
        return {stage: median(factors) for stage, factors in found.items()}

    def _left(self, run: Run, forecast: Seconds, now: float) -> float:
        """Of one run: training goes at its own pace, evaluation not evenly."""
        seen = self._under_way.get(run.id)
        if seen is None:
            return forecast.total
        if seen.stage == "evaluate":
            return max(0.0, forecast.evaluate + forecast.drift - (now - seen.since))
        train = (1 - seen.fraction) * (seen.whole or forecast.train)
        return train + forecast.total - forecast.train

    def _kind(self, run: Run | Record) -> Kind:
        return (_recipe(run), run.method, round(self._share(run), 6), run.purpose)

    def _share(self, run: Run | Record) -> float:
        """Of this suite's budget."""
        if isinstance(run, Record) and run.budget is not None:
            return run.budget.amount / self._budget.amount
        return run.share


def _recipe(run: Run | Record) -> str:
    return run.tuned_from or run.recipe


def alike(record: Record, suite: Suite, run: Run, processor: str) -> bool:
    """Whether the seconds of a record of this or an earlier suite tell of one's own runs: the same
    model, data, batch and machine, and a budget in the same currency.
    """
    asked, had = suite.batch.model_dump(), vars(record.batch) if record.batch else {}
    if asked["micro"] == "auto":  # the record says what was settled
        asked["micro"] = had.get("micro")
    return (
        asked == had
        and record.fingerprints.model_dump() == run.fingerprints
        and record.environment.device == processor
        and record.budget is not None
        and record.budget.currency == suite.budget.budget().currency
    )
