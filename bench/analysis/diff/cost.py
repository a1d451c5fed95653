"""Speed, memory and seconds of the same recipe in two folders: they compare only on equal machines."""

from __future__ import annotations

from statistics import fmean

from bench.records.schema import Record


def ratios(one: list[Record], two: list[Record]) -> dict[str, float]:
    """Means over seeds, B over A, of all that both tell."""
    first, second = (
        {name: fmean(found) for name, found in _costs(records).items() if all(found)}
        for records in (one, two)
    )
    return {name: second[name] / first[name] for name in first if name in second}


def _costs(records: list[Record]) -> dict[str, list[float]]:
    """Speed, memory and seconds by seed; 0 where a record does not tell."""
    found: dict[str, list[float]] = {}
    for record in records:
        train, evaluation = record["train"] or {}, record["evaluation"]
        decode = evaluation["decode"] or {}
        told = {
            "train_tokens_per_second": train.get("tokens_per_second"),
            "decode_tokens_per_second": (
                decode["tokens"] / decode["seconds"] if decode.get("seconds") else None
            ),
            "peak_train_bytes": (train.get("memory") or {}).get("peak_bytes"),
            "peak_eval_bytes": (evaluation["memory"] or {}).get("peak_bytes"),
            "train_seconds": train.get("seconds", {}).get("train"),
            "eval_seconds": evaluation["seconds"].get("evaluate"),
        }
        for name, value in told.items():
            found.setdefault(name, []).append(value or 0.0)
    return found


def machines(one: list[Record], two: list[Record]) -> str:
    """In what the machines and libraries of two rows differ; nothing where speed and memory may be
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
        stages = [
            record[stage]["environment"] for stage in ("train", "evaluation") if record[stage]
        ]
        for stage in ({"runs side by side": record["side_by_side"]}, *stages):
            plain = {
                key.replace("_", " "): value
                for key, value in stage.items()
                if not isinstance(value, dict)
            }
            for key, value in {**plain, **stage.get("libraries", {})}.items():
                found.setdefault(key, set()).add(str(value))
    return found
