"""Pairs of sentences: does the first entail the second, contradict it, or neither?

The three relations are those of Bowman et al. (2015). Natural collections can be solved in good part from the second
sentence alone (Gururangan et al. 2018). Here that is impossible: the hypothesis is made first, the relation is drawn,
and only then is a premise made that stands in this relation to it. There are three kinds of pairs: where somebody went,
who is taller than whom, and *no* or *a* with a wider or a narrower word. In the first two the premise has the names and
the places of the hypothesis whatever the relation, so that the words which the sentences share do not tell it either.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from autograder.data.generated.dice import Dice
from autograder.data.generated.word_lists import GIVEN_NAMES, listed

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2
LABELS = ("entailment", "neutral", "contradiction")

PLACES = listed("garden kitchen library museum market station school theater church harbor")
COMPARATIVES = listed("taller older faster richer stronger happier")
WIDER = {
    "dog": ("animal", "poodle"),
    "fish": ("animal", "salmon"),
    "bird": ("animal", "sparrow"),
    "flower": ("plant", "tulip"),
    "tree": ("plant", "birch"),
    "car": ("vehicle", "taxi"),
    "boat": ("vehicle", "canoe"),
    "musician": ("person", "violinist"),
    "athlete": ("person", "sprinter"),
}
"""For every word one that is wider and one that is narrower."""
SPOTS = ("in the yard", "by the lake", "near the bridge", "behind the house", "on the hill", "under the wall")


class Pair(NamedTuple):
    """A premise, a hypothesis and how they are related: 0 entailment, 1 neutral, 2 contradiction."""

    premise: str
    hypothesis: str
    label: int


def entailment(count: int, generator: np.random.Generator) -> list[Pair]:
    """Pairs of sentences; each relation is as likely as any other, whatever the hypothesis.

    Args:
        count: number of pairs.
        generator: what they are made from.
    """
    dice = Dice(generator)
    kinds: list[Callable[[Dice, int], tuple[str, str]]] = [_whereabouts, _comparison, _quantity]
    pairs = []
    for _ in range(count):
        label = dice.below(3)
        pairs.append(Pair(*dice.choice(kinds)(dice, label), label))
    return pairs


def _whereabouts(dice: Dice, label: int) -> tuple[str, str]:
    """Somebody went somewhere and somebody else elsewhere. Neutral: who only wanted to go may be anywhere."""
    who, other = dice.several(GIVEN_NAMES, 2)
    where, elsewhere = dice.several(PLACES, 2)
    went, wanted = "has gone to", "wanted to go to"
    if label == ENTAILMENT:
        facts = [(who, went, where), (other, dice.choice((went, wanted)), elsewhere)]
    elif label == CONTRADICTION:
        facts = [(who, went, elsewhere), (other, dice.choice((went, wanted)), where)]
    else:
        places = dice.several((where, elsewhere), 2)
        facts = [(who, wanted, places[0]), (other, dice.choice((went, went, wanted)), places[1])]
    (a, did, x), (b, also, y) = dice.several(facts, 2)
    return f"{a} {did} the {x} and {b} {also} the {y}.", f"{who} is at the {where}."


def _comparison(dice: Dice, label: int) -> tuple[str, str]:
    """Two comparisons with a third person. They decide only if that person stands between the other two."""
    who, other, third = dice.several(GIVEN_NAMES, 3)
    than = dice.choice(COMPARATIVES) + " than"
    if label == ENTAILMENT:
        facts = [(who, third), (third, other)]
    elif label == CONTRADICTION:
        facts = [(other, third), (third, who)]
    else:
        facts = dice.choice(([(who, third), (other, third)], [(third, who), (third, other)]))
    (a, b), (c, d) = dice.several(facts, 2)
    return f"{a} is {than} {b} and {c} is {than} {d}.", f"{who} is {than} {other}."


def _quantity(dice: Dice, label: int) -> tuple[str, str]:
    """*A poodle* is a dog, and where there is *no animal* there is no dog; the other way round nothing follows."""
    word = dice.choice(tuple(WIDER))
    wider, narrower = WIDER[word]
    where, elsewhere = dice.several(SPOTS, 2)
    denied = dice.chance(0.5)
    some, none = f"There is a {narrower}", f"There is no {wider}"
    if label == NEUTRAL:
        said, place = dice.choice(
            (
                (f"There is no {narrower}" if denied else f"There is {_article(wider)} {wider}", where),
                (some, elsewhere),
                (none, elsewhere),
            )
        )
    else:
        said, place = (none if denied == (label == ENTAILMENT) else some), where
    return f"{said} {place}.", f"There is {'no' if denied else 'a'} {word} {where}."


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
