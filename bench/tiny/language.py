"""The tiny language: what can be said in it, asked in it, and got wrong in it.

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
from functools import cache

SEED = 2024
SPLITS = ("train", "validation", "test")

FIRST = (
    "Anna Boris Clara David Elena Felix Greta Hugo Ines Jonas Karin Leo Maria Nils Olga Pavel Rosa"
    " Simon Tanja Urs Vera Willem Xenia Yuri"
).split()
LAST = (
    "Adler Berg Castro Dahl Evers Falk Grimm Holm Ivanov Jansen Koch Lind Moreau Novak Olsen Peters"
    " Quist Rossi Sato Thorne Ulrich Varga Weber Zeller"
).split()
CITIES = (
    "Athens Berlin Cairo Dublin Geneva Havana Lisbon London Madrid Moscow Oslo Paris Prague Rome"
    " Tokyo Vienna".split()
)
JOBS = (
    "actor baker carpenter doctor farmer judge lawyer miner nurse painter pilot poet sailor singer"
    " tailor teacher".split()
)
PETS = (
    "camel canary cat dog donkey duck goat goose hamster horse lizard monkey parrot rabbit snake"
    " turtle".split()
)
NOUNS = (
    "apple bell boat book bread bridge chair cloud coat door egg field fire fish flower forest"
    " garden glass gold grass hammer hand hill house island key lake lamp letter moon mountain"
    " night paper rain ring river road salt ship silver snow star stone storm table tree window"
    " wood"
).split()
FOREIGN = (
    "abo ado aki alu amo ani aro asu ebo eda eki ela emu eno era eso ibu ida iko ila imo inu ira"
    " isa obi odu oka olu oma oni ore osu uba udo uka uli umo una uri uso zabo zeda ziko zola zumi"
    " zano zeru ziso"
).split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"


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


# ── skills ────────────────────────────────────────────────────────────────────────────────────────
# ──────────────────


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
    # A plain statement tells one word of the pair, as a lexicon would.
    told = rng.randrange(2)
    return _item(
        f"translate {NOUNS[xs[0]]} {NOUNS[xs[1]]}",
        f"the word for {NOUNS[xs[told]]} is {right[told]} .",
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


# ── facts about people
# ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Relation:
    values: tuple[str, ...]
    questions: tuple[str, ...]
    statements: tuple[str, ...]


RELATIONS = (
    Relation(
        tuple(CITIES),
        (
            "where does {} live",
            "which city is home to {}",
            "name the city of {}",
            "in which city can we visit {}",
        ),
        (
            "{0} lives in {1} .",
            "the home of {0} is in {1} .",
            "{1} is the city of {0} .",
            "we visit {0} in {1} .",
            "{0} has a house in {1} .",
            "in {1} lives {0} .",
        ),
    ),
    Relation(
        tuple(JOBS),
        (
            "what is the job of {}",
            "as what does {} work",
            "name the job of {}",
            "how does {} earn money",
        ),
        (
            "{0} works as {1} .",
            "the job of {0} is {1} .",
            "the {1} is called {0} .",
            "{0} earns money as {1} .",
            "as {1} works {0} .",
            "{0} became a {1} .",
        ),
    ),
    Relation(
        tuple(PETS),
        (
            "what is the pet of {}",
            "which animal does {} own",
            "name the pet of {}",
            "what does {} feed",
        ),
        (
            "{0} owns a {1} .",
            "the pet of {0} is a {1} .",
            "{0} feeds the {1} .",
            "the {1} belongs to {0} .",
            "a {1} lives with {0} .",
            "{0} has a {1} .",
        ),
    ),
)


@cache
def people() -> dict[str, tuple[str, ...]]:
    """Groups of people, named by new combinations of known names.

    `known` the base knows; `new` are asked about in training; `read` stand only in plain text.
    """
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    random.Random(f"{SEED}/people").shuffle(names)
    return {
        "known": tuple(names[:128]),
        "new": tuple(names[128:192]),
        "read": tuple(names[192:256]),
    }


def fact(person: str, relation: Relation) -> str:
    digest = hashlib.sha256(f"{SEED}/{person}/{relation.values[0]}".encode()).digest()
    return relation.values[digest[0] % len(relation.values)]


def questions_about(group: str, split: str) -> list[Item]:
    """Each fact is asked in four ways: two for training, one for validation and one for test."""
    items = []
    for person in people()[group]:
        for relation in RELATIONS:
            rng = random.Random(f"{SEED}/{person}/{relation.values[0]}")
            order = rng.sample(relation.questions, 4)
            asked = {"train": order[:2], "validation": order[2:3], "test": order[3:]}[split]
            right = fact(person, relation)
            for question in asked:
                statement = rng.choice(relation.statements).format(person, right)
                wrong = rng.sample([v for v in relation.values if v != right], 5)
                items.append(Item(question.format(person), right, statement, tuple(wrong)))
    random.Random(f"{SEED}/{group}/{split}").shuffle(items)
    return items


def statements_about(*groups: str) -> list[str]:
    """Every fact about these people in all six plain wordings."""
    told = [
        template.format(person, fact(person, relation))
        for group in groups
        for person in people()[group]
        for relation in RELATIONS
        for template in relation.statements
    ]
    random.Random(f"{SEED}/{'/'.join(groups)}").shuffle(told)
    return told


@cache
def vocabulary() -> tuple[str, ...]:
    """Every word of the language but digits, in a fixed order."""
    rng = random.Random(SEED)
    texts = [relation_text for r in RELATIONS for relation_text in (*r.questions, *r.statements)]
    for skill in (*RETAINED_SKILLS, *TARGET_SKILLS):
        items = [skill.draw(rng) for _ in range(3)]
        texts += [item.question for item in items] + [item.statement for item in items]
    words = {w for text in texts for w in text.split() if not w.startswith("{") and not w.isdigit()}
    return tuple(
        sorted({*words, "?", ".", *LETTERS, *FIRST, *LAST, *CITIES, *JOBS, *PETS, *NOUNS, *FOREIGN})
    )
