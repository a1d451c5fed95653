"""Speed, memory and seconds of one recipe in two folders: they compare only on equal machines."""

from __future__ import annotations

from statistics import fmean

from bench.analysis import columns
from bench.analysis.measure import recorded
from bench.records.schema import Record


def ratios(one: list[Record], two: list[Record]) -> dict[str, float]:
    """Means over seeds, B over A, of every column that depends on the machine and is known of all
    seeds.
    """
    first, second = _means(one), _means(two)
    return {name: second[name] / first[name] for name in first if name in second}


def _means(records: list[Record]) -> dict[str, float]:
    found = [recorded(record) for record in records]
    means: dict[str, float] = {}
    for column in columns.COLUMNS:
        values = [own.get(column.name) for own in found]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if column.machine and len(numbers) == len(records) and all(numbers):
            means[column.name] = fmean(numbers)
    return means


def machines(one: list[Record], two: list[Record]) -> str:
    """In what the machines and libraries of two rows differ; empty where speed and memory may be
    compared.
    """
    first, second = _environment(one), _environment(two)
    return "; ".join(
        f"{name} {' and '.join(sorted(first.get(name, {'unknown'})))} in A,"
        f" {' and '.join(sorted(second.get(name, {'unknown'})))} in B"
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    )


def _environment(records: list[Record]) -> dict[str, set[str]]:
    """Every value of everything that speed and memory depend on."""
    found: dict[str, set[str]] = {}
    for record in records:
        found.setdefault("concurrent runs", set()).add(str(record.concurrent_runs))
        for stage in filter(None, (record.train, record.evaluation)):
            told = stage.environment.model_dump(exclude={"libraries", "commits"}, exclude_none=True)
            for key, value in {**told, **stage.environment.libraries}.items():
                found.setdefault(key.replace("_", " "), set()).add(str(value))
    return found
