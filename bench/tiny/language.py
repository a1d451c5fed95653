"""The skills of the tiny language: what can be asked, said, and got wrong.

A *skill* is a family of questions with one right answer each. Every skill can make an item from a
random generator, say it as a question or as a plain statement, and name the mistakes that a learner
would plausibly make. Which split an item belongs to is decided by a hash of the item itself, so
that training, validation and test questions cannot overlap.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.tiny.words import FOREIGN, LETTERS, NOUNS

SEED = 2024
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Item:
    """One thing to know: how it is asked, answered and stated. Texts carry no special tokens."""

    question: str
    answer: str
    statement: str
    mistakes: tuple[str, ...]
    """Plausible wrong answers, the likeliest first; at least three, all different from the answer.
    """

    @property
    def prompt(self) -> str:
        return self.question + " ?"

    @property
    def completion(self) -> str:
        return " " + self.answer


@dataclass(frozen=True)
class Skill:
    name: str
    cluster: str
    """Skills of one cluster exercise the same ability; an instruction mixture leaves out the
    target's whole cluster.
    """
    draw: Callable[[random.Random], Item]

    def items(self, split: str, count: int) -> list[Item]:
        """The first `count` different items of a split, always the same ones; fewer where the skill
        has no more.
        """
        rng = random.Random(f"{SEED}/{self.name}/{split}")
        found: dict[str, Item] = {}
        for _ in range(30 * count):
            item = self.draw(rng)
            if split_of(item.question) == split:
                found.setdefault(item.question, item)
            if len(found) == count:
                break
        return list(found.values())


def split_of(key: str) -> str:
    """Eight tenths of all items are for training, one each for validation and test."""
    bucket = hashlib.sha256(f"{SEED}/{key}".encode()).digest()[0] % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def _item(question: str, statement: str, answer: object, mistakes: Iterable[object]) -> Item:
    """Drop repeated mistakes and those that happen to be right."""
    wrong = [m for m in dict.fromkeys(str(m) for m in mistakes) if m != str(answer)]
    return Item(question, str(answer), statement.format(answer), tuple(wrong[:5]))


def _letters(rng: random.Random, count: int) -> list[str]:
    return rng.sample(LETTERS, count)


def _exchange(xs: list[str], i: int, j: int) -> str:
    ys = list(xs)
    ys[i], ys[j] = ys[j], ys[i]
    return " ".join(ys)


def _copy(rng: random.Random) -> Item:
    xs = _letters(rng, 5)
    said = " ".join(xs)
    wrong = [
        _exchange(xs, 2, 3),
        _exchange(xs, 0, 1),
        " ".join(xs[:-1]),
        " ".join(sorted(xs)),
        _exchange(xs, 3, 4),
    ]
    return _item(f"copy {said}", f"{said} copied is {{}} .", said, wrong)


def _sort(rng: random.Random) -> Item:
    xs = _letters(rng, 4)
    right = sorted(xs)
    wrong = [
        _exchange(right, 1, 2),
        _exchange(right, 0, 1),
        _exchange(right, 2, 3),
        " ".join(xs),
        " ".join(right[::-1]),
    ]
    return _item(
        f"sort {' '.join(xs)}", f"{' '.join(xs)} in order is {{}} .", " ".join(right), wrong
    )


def _swap(rng: random.Random) -> Item:
    xs = _letters(rng, 4)
    wrong = [
        " ".join(xs),
        " ".join(xs[::-1]),
        _exchange(xs, 0, 1),
        " ".join(xs[1:] + xs[:1]),
        _exchange(xs, 1, 2),
    ]
    return _item(
        f"swap {' '.join(xs)}",
        f"{' '.join(xs)} with its ends exchanged is {{}} .",
        _exchange(xs, 0, 3),
        wrong,
    )


def _last(rng: random.Random) -> Item:
    xs = rng.sample(NOUNS, 4)
    return _item(
        f"last of {' '.join(xs)}",
        f"the last of {' '.join(xs)} is {{}} .",
        xs[-1],
        [*xs[2::-1], rng.choice(NOUNS)],
    )


def _add(rng: random.Random) -> Item:
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    right = a + b
    carried = a // 10 * 10 + b // 10 * 10 + (a + b) % 10
    return _item(
        f"add {a} and {b}",
        f"{a} and {b} make {{}} .",
        right,
        [carried, right - 10, right + 1, right - 1, right + 10],
    )


def _subtract(rng: random.Random) -> Item:
    b, a = sorted(rng.sample(range(10, 100), 2))
    right = a - b
    borrowed = abs(a // 10 - b // 10) * 10 + abs(a % 10 - b % 10)
    return _item(
        f"subtract {b} from {a}",
        f"{a} less {b} is {{}} .",
        right,
        [borrowed, right + 10, right + 1, abs(right - 1), a + b],
    )


def _extreme(word: str, rank: int) -> Callable[[random.Random], Item]:
    def draw(rng: random.Random) -> Item:
        xs = rng.sample(range(10, 100), 3)
        right, *others = sorted(xs) if rank == 0 else sorted(xs)[::-1]
        near = right + 10 if right < 90 else right - 10
        said = " ".join(map(str, xs))
        slips = [near, right // 10 * 10 + (right + 1) % 10, right // 10 * 10 + (right + 9) % 10]
        return _item(
            f"{word} of {said}", f"the {word} of {said} is {{}} .", right, [*others, *slips]
        )

    return draw


def _translate(rng: random.Random) -> Item:
    xs = rng.sample(range(len(NOUNS)), 2)
    right = [FOREIGN[x] for x in xs]
    stray = rng.sample(FOREIGN, 2)
    wrong = [
        f"{right[0]} {stray[0]}",
        f"{stray[1]} {right[1]}",
        " ".join(right[::-1]),
        right[0],
        " ".join(stray),
    ]
    # A plain statement names one word of the pair, as a lexicon would.
    chosen = rng.randrange(2)
    return _item(
        f"translate {NOUNS[xs[0]]} {NOUNS[xs[1]]}",
        f"the word for {NOUNS[xs[chosen]]} is {right[chosen]} .",
        " ".join(right),
        wrong,
    )


RETAINED_SKILLS = (
    Skill("copy", "letters", _copy),
    Skill("sort", "letters", _sort),
    Skill("last", "words", _last),
    Skill("add", "arithmetic", _add),
    Skill("largest", "comparison", _extreme("largest", -1)),
)
TARGET_SKILLS = (
    Skill("smallest", "comparison", _extreme("smallest", 0)),
    Skill("swap", "letters", _swap),
    Skill("subtract", "arithmetic", _subtract),
    Skill("translate", "translation", _translate),
)
