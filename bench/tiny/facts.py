"""Facts about people in the tiny language: who they are, what is asked and said of them."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache

from bench.tiny.language import SEED, Item
from bench.tiny.words import CITIES, FIRST, JOBS, LAST, PETS


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
    texts = [
        template.format(person, fact(person, relation))
        for group in groups
        for person in people()[group]
        for relation in RELATIONS
        for template in relation.statements
    ]
    random.Random(f"{SEED}/{'/'.join(groups)}").shuffle(texts)
    return texts
