"""An analysis with everything in it, made up."""

from __future__ import annotations

from typing import Any

from bench.analysis import Analysis, CurvePoint, Group, Sequence, Trial
from bench.analysis.rows import Objective, Row
from bench.analysis.statistics import Estimate, Pair

EVIL = """<script>alert(1)</script>"'&"""
BUDGET = ("tokens", 200_000.0)
FAMILIES = (
    "supervised",
    "parameter-efficient",
    "preference",
    "reinforcement",
    "continual",
    "merging",
    "a stranger's own",
)
SUITE = """suite: everything
model: {path: tiny}
target: [tiny/swap, tiny/smallest]
retain: [tiny/people, tiny/sort]
seeds: [0, 1, 2]
split: test
methods:
- sft: {lr: 0.001}
  as: sft
- lora: {lr: 0.003, r: 8}
  as: lora
- sft: {lr: 0.001}
  as: method-0
- chain: {parts: [{sft: {lr: 0.001}}, {dpo: {beta: 0.1}}]}
  as: sft+dpo
"""


def row(recipe: str, accuracy: float, forgetting: float, family: str = "", **more: Any) -> Row:
    """A row with every column that a training yields."""
    made = Row(recipe, "ok", None, 3, BUDGET, family=family, **more)
    made.means = {
        "target_accuracy": accuracy,
        "forgetting": forgetting,
        "items_lost": 400 * forgetting,
        "items_gained": 7.0,
        "drift_nll": 2 * forgetting,
        "drift_kl": 1.8 * forgetting,
        "peak_train_bytes": 2.0**29 * (1 + accuracy),
        "peak_eval_bytes": 2.0**29,
        "train_tokens_per_second": 3000 + 900 * forgetting,
        "decode_tokens_per_second": 1500.0,
        "trainable_parameters": 10 ** (3 + 3 * accuracy),
        "total_parameters": 891_520.0,
        "artifact_bytes": 2.0**20 * (0.1 + accuracy),
        "load_seconds": 1.1,
        "train_seconds": 31 + 20 * accuracy,
        "save_seconds": 0.1,
        "eval_seconds": 12.0,
        "joules": 412.0 + 100 * accuracy,
        "score[tiny/swap]": accuracy,
        "score[tiny/smallest]": accuracy**2,
        "score[tiny/people]": 1 - forgetting,
        "forgetting[tiny/people]": forgetting,
        "score[tiny/sort]": 0.9 - 0.8 * forgetting,
        "forgetting[tiny/sort]": 0.8 * forgetting,
        **{f"spent_{currency}": value for currency, value in _spent(1.0).items()},
    }
    made.spreads = {name: abs(value) * 0.03 for name, value in made.means.items()}
    made.intervals = {
        "target_accuracy": (max(0.0, accuracy - 0.03), min(1.0, accuracy + 0.03)),
        "forgetting": (forgetting - 0.04, forgetting + 0.04),
    }
    made.ledger = {"train": _spent(0.8), "reference": _spent(0.2), "tuning": _spent(8.0)}
    made.objectives = [
        Objective("1", "sft", "nll", "lower", 4.2, 0.31),
        Objective("1", "sft", "accuracy", None, 0.1, 0.8),
    ]
    return made


def _spent(share: float) -> dict[str, float]:
    return {
        "tokens": 200_000 * share,
        "flops": 1.1e12 * share,
        "seconds": 40 * share,
        "samples": 12_000 * share,
        "steps": 190 * share,
    }


def base() -> Row:
    found = row("base", 0.02, 0.0)
    trained = ("train", "artifact", "trainable", "load", "save", "spent", "joules")
    for name in [
        name
        for name in found.means
        if any(word in name for word in trained) and name != "total_parameters"
    ]:
        del found.means[name]
        found.spreads.pop(name, None)
        found.missing[name] = "not trained"
    found.ledger, found.objectives = {}, []
    return found


def everything(evil: str = EVIL) -> Analysis:
    """Every part of a report at once, and names that would like to be markup."""
    rows = [base()]
    for number, family in enumerate(FAMILIES):
        accuracy, forgetting = 0.93 - 0.11 * number, 0.62 - 0.08 * number
        name = evil if number == 2 else f"method-{number}"
        rows.append(
            row(
                name,
                accuracy,
                forgetting,
                family,
                tie_groups="ab"[number % 2],
                marks=["one seed", "untuned"],
            )
        )
        rows.append(
            row(
                f"{name} (tuned)",
                accuracy + 0.05,
                forgetting - 0.02,
                family,
                tuned_from=name,
                tie_groups="a",
                marks=["one seed"],
            )
        )
    rows.append(
        Row("broken", "failed", f"ValueError: {evil} in line 3", 0, BUDGET, family="continual")
    )
    rows.append(Row("absent", "skipped", "needs a GPU", 0, BUDGET, family="reinforcement"))
    rows.append(
        row(
            "borrowed",
            0.71,
            0.2,
            "supervised",
            imported=f"Doe et al. {evil}",
            marks=["not verified"],
        )
    )
    names = [r.recipe for r in rows if r.means and r.recipe != "base"]
    pairs = [
        Pair(
            a,
            b,
            0.02 * (i - j),
            0.02 * (i - j) - 0.03,
            0.02 * (i - j) + 0.03,
            0.01 * i,
            min(1.0, 0.1 * i),
        )
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if i < j
    ]
    chances = {(pair.one, pair.other): 0.5 + 0.4 * pair.difference for pair in pairs[1:]}
    other = [
        row("method-0", 0.99, 0.7, "supervised"),
        row("method-1", 0.9, 0.3, "parameter-efficient"),
    ]
    for one in other:
        one.budget = ("tokens", 800_000.0)
    return Analysis(
        name=f"everything {evil}",
        headline=(
            f"method-0 (tuned) learned most, 98.0% (95–100), and {evil} forgot least for what it"
            " learned."
        ),
        groups=[
            Group(
                rows,
                "",
                pairs,
                0.041,
                ["Xeon, torch 2.11", f"H100 {evil}"],
                [(f"H100 {evil}", _fast(evil))],
                chances,
            ),
            Group(other, f"another budget: 800,000 tokens {evil}", [], None, ["Xeon, torch 2.11"]),
        ],
        level=0.95,
        suite=SUITE + f"# {evil}\n",
        trials=_trials(names, evil),
        curve=[
            CurvePoint(n, s, _around(min(1.0, 0.2 * k + s**0.5 * 0.8)), _around(0.1 * s))
            for k, n in enumerate(names[:6])
            for s in (0.125, 0.25, 0.5, 1.0)
        ],
        sequences=[_sequence(n) for n in names[:3]],
        ranking=[
            f"Tuning moved {evil} from place 5 to place 2.",
            "The order of the other rows stayed.",
        ],
        caveats=["Two seeds or fewer for 3 of 17 rows.", f"The rates of {evil} were not tuned."],
        provenance={"commit": "267681b", evil: evil, "model": "sha256 1f0c…"},
    )


def _around(value: float) -> Estimate:
    return Estimate(value, value - 0.04, value + 0.04)


def _fast(evil: str) -> list[Row]:
    """Rows that hold nothing but their speed and memory on another machine."""
    made = [Row(name, "ok", None, 1, BUDGET) for name in ("method-0", evil)]
    for place, one in enumerate(made):
        one.means = {"train_tokens_per_second": 90_000.0 + place, "peak_train_bytes": 2.0**31}
    del made[1].means["peak_train_bytes"]
    made[1].missing["peak_train_bytes"] = f"not published {evil}"
    return made


def _trials(names: list[str], evil: str) -> list[Trial]:
    made = []
    for name in names[:3]:
        for number in range(8):
            drawn = {
                "lr": 10 ** (-4 + 0.3 * number),
                "r": 2 ** (number % 4),
                f"1.init {evil}": ["pissa", evil][number % 2],
            }
            score = None if number == 7 else 0.2 + 0.1 * number - 0.03 * max(0, number - 4) ** 2
            made.append(
                Trial(
                    name, number, drawn, "diverged" if score is None else "ok", score, number == 5
                )
            )
    return made


def _sequence(name: str) -> Sequence:
    matrix = [[0.1, 0.05, 1.0, 0.9], [0.95, 0.2, 0.6, 0.5], [0.7, 0.9, 0.3, 0.4]]
    metrics = {
        "average_accuracy": 0.8,
        "backward_transfer": -0.25,
        "forward_transfer": 0.15,
        "forgetting": 0.25,
    }
    return Sequence(
        name, ["tiny/swap", "tiny/smallest", "tiny/people", "tiny/sort"], matrix, metrics
    )
