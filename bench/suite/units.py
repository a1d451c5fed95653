"""Whether a unit of the budget is the same work for every recipe, as far as this can be known
before training.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.data.formats import Format
from bench.methods.entry import Resolved
from bench.methods.recipe import leaves
from bench.suite.schema import Suite

READS = {
    Format.LANGUAGE_MODELING: "plain text",
    Format.PREFERENCE: "pairs",
    Format.RANKING: "lists of completions",
    Format.PROMPT_ONLY: "completions that it samples",
}
"""What a method learns from, where a row is not one prompt with one completion."""
PLAIN = "prompts and completions"


def unequal(suite: Suite) -> str | None:
    """Why a budget in steps or samples is not the same for all recipes; None where nothing is
    known against it.
    """
    currency = suite.budget.budget().currency
    groups: dict[str, list[str]] = {}
    for entry in suite.methods:
        reads = dict.fromkeys(_reads(entry.recipe))
        groups.setdefault(" and ".join(reads) or PLAIN, []).append(entry.label)
    if currency not in ("steps", "samples") or len(groups) < 2:
        return None
    told = "; ".join(f"{what}: {', '.join(labels)}" for what, labels in groups.items())
    return (
        f"The budget is in {currency}, and one of them is not the same work for recipes that learn"
        f" from different data ({told}). A budget in tokens or flops is."
    )


def _reads(recipe: Resolved) -> Iterator[str]:
    for leaf in leaves(recipe):
        if leaf.usable is not None:
            yield from (READS.get(format, PLAIN) for format in leaf.usable.needs())
