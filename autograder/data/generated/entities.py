"""Named entities: people, places, organizations and dates, marked in BIO tags (Ramshaw and Marcus 1995).

The four types are among those of CoNLL-2003 and OntoNotes. Most names here may be any of the first three: *Lincoln* is
a person in one sentence, a town in the next, a firm in a third, so that the word alone does not tell; and the names
of the test come nowhere in training, so that it cannot be learned by heart either.
"""

from typing import Literal, NamedTuple

import numpy as np

from autograder.data.generated.dice import Dice
from autograder.data.generated.word_lists import GIVEN_NAMES, MONTHS, WEEKDAYS, listed

NAMES = {
    "train": listed(
        "Lincoln Florence Jordan Austin Madison Virginia Charlotte Hamilton Wellington Houston Dallas Jackson "
        "Carolina Nelson Lancaster Bristol Denver Raleigh Franklin Darwin"
    ),
    "test": listed("Washington Sydney Georgia Orlando Savannah Chester Lawrence Phoenix Windsor Kingston"),
}
"""Names of people as well as of places and firms."""
FIRST_NAMES = {"train": GIVEN_NAMES[:10], "test": GIVEN_NAMES[10:]}
ORGANIZATIONS = listed("Bank College Motors Press Museum Airlines")
YEARS = {"train": range(1901, 2000, 2), "test": range(1900, 2000, 2)}

TEMPLATES = tuple(
    template.split()
    for template in (
        "LOC lies on a river not far from LOC .",
        "In DATE the streets of LOC were flooded .",
        "PER was born in LOC in DATE .",
        "PER married PER in DATE .",
        "In DATE PER moved from LOC to LOC .",
        "The mayor of LOC thanked PER for a speech .",
        "ORG hired PER in DATE .",
        "ORG opened an office in LOC .",
        "Shares of ORG fell after ORG lost a case in court .",
        "PER has worked for ORG since DATE .",
        "On DAY ORG was sold to ORG .",
        "A train from LOC to LOC was late on DAY .",
        "PER and PER wrote a book about the history of LOC .",
        "The workers of ORG in LOC went on strike on DAY .",
        "Yesterday PER left ORG and went home to LOC .",
        "The lake near LOC was painted by PER in DATE .",
    )
)
TYPES = ("PER", "LOC", "ORG", "DATE")
TAGS = ("O", *(f"{place}-{kind}" for kind in TYPES for place in "BI"))
"""All tags, so that a tag's number is its place here."""


class Tagged(NamedTuple):
    """A sentence and a tag for each of its tokens: B- begins an entity, I- goes on with it, O is none."""

    tokens: list[str]
    tags: list[str]


def entities(count: int, part: Literal["train", "test"], generator: np.random.Generator) -> list[Tagged]:
    """Sentences with entities marked.

    Training and test share the sentences around the entities, and of the entities the names of months and days and
    the second words of firms; no name and no year is in both.

    Args:
        count: number of sentences.
        part: whose names are used.
        generator: what they are made from.
    """
    dice = Dice(generator)
    return [_sentence(dice, part) for _ in range(count)]


def _sentence(dice: Dice, part: str) -> Tagged:
    tokens: list[str] = []
    tags: list[str] = []
    for word in dice.choice(TEMPLATES):
        kind = "DATE" if word == "DAY" else word
        if kind not in TYPES:
            tokens.append(word)
            tags.append("O")
            continue
        name = _date(dice, part, word == "DAY") if kind == "DATE" else _name(dice, part, kind)
        tokens += name
        tags += [f"B-{kind}", *[f"I-{kind}"] * (len(name) - 1)]
    return Tagged(tokens, tags)


def _name(dice: Dice, part: str, kind: str) -> list[str]:
    """A name; half of the people have a given name too, and half of the firms say what they are."""
    name = dice.choice(NAMES[part])
    if kind == "PER" and dice.chance(0.5):
        return [dice.choice(FIRST_NAMES[part]), name]
    if kind == "ORG" and dice.chance(0.5):
        return [name, dice.choice(ORGANIZATIONS)]
    return [name]


def _date(dice: Dice, part: str, day: bool) -> list[str]:
    """A day, or a year with or without a month."""
    year, month = str(dice.choice(YEARS[part])), dice.choice(MONTHS)
    if day:
        return [dice.choice(WEEKDAYS), str(1 + dice.below(28)), month, year]
    return [month, year] if dice.chance(0.5) else [year]
