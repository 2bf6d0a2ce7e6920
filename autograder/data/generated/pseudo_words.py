"""Pseudo-words: two words merged into one token, so that the token has two senses and the truth is known.

Gale, Church and Yarowsky (1992) and Schütze (1992) made ambiguous words this way to judge what tells senses apart,
since nobody has to annotate anything: which of the two words stood there is the sense. How hard a pair is depends on
how alike its words are, so there are pairs of words that have little in common and pairs that stand in like places.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FAR = (
    ("music", "river"),
    ("government", "species"),
    ("water", "literature"),
    ("religion", "energy"),
    ("war", "plants"),
    ("language", "blood"),
    ("university", "animals"),
    ("film", "island"),
    ("king", "cells"),
    ("law", "sea"),
    ("art", "temperature"),
    ("city", "theory"),
    ("food", "philosophy"),
    ("computer", "empire"),
    ("light", "province"),
)
"""Pairs of words with little in common. Each word, here and below, is over 160 times in wikipedia's texts."""

NEAR = (
    ("india", "china"),
    ("north", "south"),
    ("french", "german"),
    ("american", "british"),
    ("greek", "roman"),
    ("europe", "africa"),
    ("ocean", "lake"),
    ("poet", "philosopher"),
    ("physics", "chemistry"),
    ("france", "germany"),
)
"""Pairs of words that stand in like places."""

CLASSES = (
    ("system", "called"),
    ("group", "became"),
    ("region", "began"),
    ("family", "found"),
    ("period", "made"),
    ("history", "considered"),
    ("power", "led"),
    ("movement", "written"),
    ("structure", "produced"),
    ("field", "established"),
    ("population", "important"),
    ("land", "various"),
)
"""A noun with a verb or an adjective that may be about anything: grammar tells which it is, not the subject."""


class Occurrence(NamedTuple):
    """A place where a pseudo-word stands.

    Attributes:
        document: its number.
        position: the number of the token.
        pair: the number of the pair.
        sense: 0 for the first word of the pair, 1 for the second.
    """

    document: int
    position: int
    pair: int
    sense: int


@dataclass(frozen=True)
class PseudoWords:
    """Texts with pseudo-words, and the truth about those that are to be judged.

    In every part, each pair has as many occurrences of one sense as of the other. No document is in two parts.

    Attributes:
        documents: the texts, every word of a pair replaced.
        train: occurrences to learn from.
        validation: to choose by, such as the best layer.
        test: to report.
    """

    documents: list[list[str]]
    train: list[Occurrence]
    validation: list[Occurrence]
    test: list[Occurrence]


def merged(pair: tuple[str, str]) -> str:
    """The token that stands for both words."""
    return "|".join(pair)


def pseudo_words(
    documents: Sequence[Sequence[str]],
    pairs: Sequence[tuple[str, str]],
    generator: np.random.Generator,
    shares: tuple[float, float] = (0.6, 0.15),
) -> PseudoWords:
    """Merge the words of every pair throughout the texts.

    Args:
        documents: their tokens, in lower case if the pairs are.
        pairs: no word may be in two of them.
        generator: deals the documents out to the parts, and takes from the more frequent sense as many occurrences as
            the other has.
        shares: of the documents with a pseudo-word, for training and for validation; the rest is for the test.

    Raises:
        ValueError: if a word is in two pairs.
    """
    sense_of = {word: (pair, sense) for pair, words in enumerate(pairs) for sense, word in enumerate(words)}
    if len(sense_of) < 2 * len(pairs):
        raise ValueError("A word is in two of the pairs: leave one of the pairs out.")
    tokens = [merged(pair) for pair in pairs]
    replaced, found = [], []
    for number, document in enumerate(documents):
        text = list(document)
        places = [(place, *sense_of[word]) for place, word in enumerate(document) if word in sense_of]
        for place, pair, _ in places:
            text[place] = tokens[pair]
        replaced.append(text)
        if places:
            found.append([Occurrence(number, *place) for place in places])
    order = generator.permutation(len(found)).tolist()
    first, second = round(shares[0] * len(order)), round(sum(shares) * len(order))
    parts = [order[:first], order[first:second], order[second:]]
    train, validation, test = (
        _balanced((occurrence for number in part for occurrence in found[number]), generator) for part in parts
    )
    return PseudoWords(replaced, train, validation, test)


def _balanced(occurrences: Iterable[Occurrence], generator: np.random.Generator) -> list[Occurrence]:
    """For each pair as many of one sense as of the other, chosen at random, in the order of the text."""
    senses: dict[int, tuple[list[Occurrence], list[Occurrence]]] = defaultdict(lambda: ([], []))
    for occurrence in occurrences:
        senses[occurrence.pair][occurrence.sense].append(occurrence)
    kept = []
    for pair in sorted(senses):
        count = min(len(sense) for sense in senses[pair])
        for sense in senses[pair]:
            kept += [sense[place] for place in generator.permutation(len(sense))[:count].tolist()]
    return sorted(kept)
